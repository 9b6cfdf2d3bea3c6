//! The parts of a database's snapshot, made from the reports of its members.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::postgres::topology::{Lag, Member, TopologyState};
use pharos_model::postgres::unused_indexes::{self, MemberIndexes, unused_indexes};
use pharos_model::snapshot::Unlisted;
use pharos_model::snapshot::{Change, PartId};
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, Part, Reading, Snapshot, Table};
use pharos_model::unjudged::{self, Unjudged};

/// Makes the part with the topology of a database: its members, their roles and lags.
pub(super) fn topology(picture: &TopologyState, at: Duration, fresh_until: Duration) -> Part {
    let count = |count: usize| count as f64;
    let is_split = f64::from(u8::from(!picture.split_brain.is_empty()));
    let mut families = vec![
        Family::scalar("pharos_database_members", count(picture.members.len())),
        Family::scalar("pharos_database_members_up", count(picture.members.iter().filter(|member| member.up).count())),
        Family::scalar("pharos_database_clusters", count(picture.clusters)),
        Family::scalar("pharos_database_primary_changes_total", picture.primary_changes as f64),
    ];
    // Without a number the alerts about it stand still.
    let is_known = picture.primaries().is_some() && picture.is_split_known;
    let unlisted = if is_known { Unlisted::None } else { Unlisted::Any };
    families.extend(picture.is_split_known.then(|| Family::scalar("pharos_database_split_brain", is_split)));
    families.extend(picture.primaries().map(|primaries| Family::scalar("pharos_database_primaries", count(primaries))));
    let metrics = ["pharos_database_member_lag_seconds", "pharos_database_member_lag_bytes", "pharos_database_primary_info"];
    let mut of_members = FamiliesBuilder::new(&["member"], &metrics);
    for member in &picture.members {
        let is_primary = picture.primary.as_ref() == Some(&member.name);
        let values = [seconds(&member.lag), member.lag.bytes.map(|bytes| bytes as f64), is_primary.then_some(1.0)];
        of_members.push(&[&member.name], &values);
    }
    families.extend(of_members.finish());
    Part::present(Arc::new(Reading { at, fresh_until, families, tables: vec![members(picture)], unlisted, ..Reading::default() }))
}

fn seconds(lag: &Lag) -> Option<f64> {
    lag.time.map(|time| time.by.as_secs_f64())
}

fn bytes(lag: &Lag) -> Option<i64> {
    lag.bytes.and_then(|bytes| i64::try_from(bytes).ok())
}

fn members(picture: &TopologyState) -> Table {
    let members = &picture.members;
    let integer = |name: &str, value: fn(&Member) -> Option<i64>| Column::integer(name, members.iter().map(value));
    let in_seconds =
        |name: &str, lag: fn(&Member) -> &Lag| Column::float(name, "seconds", members.iter().map(move |member| seconds(lag(member))));
    let is_in_split_brain = |member: &Member| picture.split_brain.contains(&member.name);
    Table::new(
        "members",
        vec![
            Column::text("member", members.iter().map(|member| Some(member.name.as_str()))),
            Column::text("role", members.iter().map(|member| Some(member.role.as_str()))),
            Column::boolean("up", members.iter().map(|member| Some(member.up))),
            // Whether the row is current: the agent may have been unable to ask the member.
            Column::boolean("is_asked", members.iter().map(|member| Some(member.is_asked))),
            // Whether another member accepts writes for the same cluster.
            Column::boolean("split_brain", members.iter().map(|member| Some(is_in_split_brain(member)))),
            integer("timeline", |member| member.timeline),
            Column::text("system_identifier", members.iter().map(|member| member.system_identifier.as_deref())),
            integer("lsn_bytes", |member| member.lsn.and_then(|lsn| i64::try_from(lsn).ok())),
            in_seconds("lag_seconds", |member| &member.lag),
            integer("lag_bytes", |member| bytes(&member.lag)),
            // The lag may be longer than the agent has run.
            Column::boolean("lag_is_minimum", members.iter().map(|member| member.lag.time.map(|time| time.is_minimum))),
            // The part of the lag that has not arrived yet. The rest waits to be replayed.
            in_seconds("shipping_lag_seconds", |member| &member.shipping),
            integer("shipping_lag_bytes", |member| bytes(&member.shipping)),
            // The member that is the same server under another name.
            Column::text("same_as", members.iter().map(|member| picture.same_as(member))),
            Column::boolean("was_primary", members.iter().map(|member| Some(member.was_primary))),
            integer("role_since_ms", |member| member.role_since_ms.and_then(|since| i64::try_from(since).ok())),
        ],
    )
}

/// Lists indexes that no member uses, as far as the indexes of the members are known.
pub(super) fn indexes(members: &[&Arc<Change>], at: Duration, fresh_until: Duration) -> Part {
    let asked: Vec<MemberIndexes<'_>> = members.iter().map(|member| member_indexes(&member.snapshot, at)).collect();
    if asked.iter().all(|member| member.indexes.is_none()) {
        return Part::failed("no server has reported its indexes yet");
    }
    let unused = unused_indexes(&asked);
    let judged = || unused.indexes.iter().filter(|index| index.is_judged());
    let families = vec![
        Family::scalar("pharos_database_unused_indexes", judged().count() as f64),
        Family::scalar("pharos_database_unused_indexes_size_bytes", judged().map(|index| index.size_bytes).sum::<i64>() as f64),
    ];
    let table = Table::new("unused_indexes", unused_indexes::columns(&unused.indexes));
    let left_out = (unused.left_out > 0).then(|| Unjudged {
        list: "unused_indexes",
        respect: "size_bytes",
        greatest: Some(unused.left_out_bytes as f64),
        why: format!("{} more indexes without a scan than are listed; the largest are", unused.left_out),
        ..Unjudged::default()
    });
    let left_out = Table::new("unjudged_indexes", unjudged::columns(left_out.into_iter().collect()));
    Part::present(Arc::new(Reading { at, fresh_until, families, tables: vec![table, left_out], ..Reading::default() }))
}

/// Returns the tables about indexes of a member, unless they are stale at `at`.
fn member_indexes(snapshot: &Snapshot, at: Duration) -> MemberIndexes<'_> {
    let reading = snapshot.part(PartId::Indexes).and_then(|part| part.reading.as_ref());
    match reading.is_some_and(|reading| reading.fresh_until >= at) {
        true => MemberIndexes { indexes: snapshot.table("indexes"), facts: snapshot.table("index_facts") },
        false => MemberIndexes::default(),
    }
}
