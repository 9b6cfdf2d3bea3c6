//! Checks of lag: the distance of each standby from its primary. Each lag raises a single alert.
//!
//! Three servers can measure the same lag: the primary, the server that sends, and the standby itself. A standby in the configuration is
//! judged by the position of the primary. A standby outside the configuration is judged by its sender. A standby with an unknown primary is
//! judged by the WAL that it received.
//!
//! An ordered delay is no lag: `recovery_min_apply_delay` is subtracted. A standby with paused replay has an alert of its own. Its lag
//! counts only WAL that has not arrived.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_value, evidence, label};
use pharos_plugin::{Label, Matcher, Pattern, Reading, SkipReason, Snapshot, text};

use crate::topology::{MEMBERS, Member, count_senders, members, receives};

const MEMBER_LAG_SECONDS: &str = "pharos_database_member_lag_seconds";
const MEMBER_LAG_BYTES: &str = "pharos_database_member_lag_bytes";
const SENDER_LAG_SECONDS: &str = "pharos_postgres_replication_lag_seconds";
const SENDER_LAG_BYTES: &str = "pharos_postgres_replication_lag_bytes";
const OWN_LAG_SECONDS: &str = "pharos_postgres_standby_replay_lag_seconds";
const OWN_LAG_BYTES: &str = "pharos_postgres_standby_replay_lag_bytes";
const APPLY_DELAY: &str = "pharos_postgres_standby_apply_delay_seconds";
const REPLAY_PAUSED: &str = "pharos_postgres_standby_replay_paused";

const MIB: f64 = 1_048_576.0;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "member-lag",
        summary: "a configured standby is behind, connected or not",
        category: "replication",
        scope: Scope::Each,
        labels: &["member"],
        needs: &[MEMBER_LAG_SECONDS],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(1),
        grading: Grading::rising(30.0, 300.0, 15.0),
        observe: members_behind,
        explain: member_lag,
    },
    Check {
        id: "replication-lag",
        summary: "a standby that is not configured, or whose primary is not, is behind in time",
        category: "replication",
        scope: Scope::Each,
        labels: &["server", "standby", "client"],
        needs: &[MEMBERS, SENDER_LAG_SECONDS, OWN_LAG_SECONDS],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(1),
        grading: Grading::rising(30.0, 300.0, 15.0),
        observe: |database| unconfigured_behind(database, &SECONDS),
        explain: |case| replication_lag(case, &text::duration(case.value)),
    },
    Check {
        id: "replication-lag-bytes",
        summary: "a standby is behind in WAL",
        category: "replication",
        scope: Scope::Each,
        labels: &["server", "standby", "client"],
        needs: &[MEMBERS, SENDER_LAG_BYTES, OWN_LAG_BYTES],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(1),
        grading: Grading::rising(100.0 * MIB, 1_024.0 * MIB, 50.0 * MIB),
        observe: all_behind_in_bytes,
        explain: |case| replication_lag(case, &text::bytes(case.value)),
    },
];

const NOT_WATCHED: &str = "the lag began before the agent monitored the primary, and is at least the shown value";

/// The names of a lag in seconds or in bytes: a metric for each of the servers that measure it.
struct Unit {
    member_metric: &'static str,
    /// The column of the table `members` with the part of the lag that has not arrived.
    shipping: &'static str,
    sender_metric: &'static str,
    own: &'static str,
    /// Whether the unit is seconds, so that a delay can be subtracted.
    is_time: bool,
}

const SECONDS: Unit = Unit {
    member_metric: MEMBER_LAG_SECONDS,
    shipping: "shipping_lag_seconds",
    sender_metric: SENDER_LAG_SECONDS,
    own: OWN_LAG_SECONDS,
    is_time: true,
};
const BYTES: Unit = Unit {
    member_metric: MEMBER_LAG_BYTES,
    shipping: "shipping_lag_bytes",
    sender_metric: SENDER_LAG_BYTES,
    own: OWN_LAG_BYTES,
    is_time: false,
};

/// The orders of an operator by which a standby lags on purpose.
#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    delay_seconds: f64,
    is_paused: bool,
}

impl Orders {
    fn from_snapshot(standby: Option<&Snapshot>) -> Self {
        let value = |metric: &str| standby.and_then(|standby| standby.value(metric).ok().flatten());
        Self { delay_seconds: value(APPLY_DELAY).unwrap_or_default(), is_paused: value(REPLAY_PAUSED) == Some(1.0) }
    }

    /// The part of a lag beyond the orders, at least 0. `shipping` is the part that has not arrived, which no order allows.
    fn beyond(self, lag: f64, shipping: Option<f64>, unit: &Unit) -> f64 {
        // A delay in seconds cannot be converted into bytes.
        let is_ordered = self.is_paused || (!unit.is_time && self.delay_seconds > 0.0);
        let replay = if is_ordered { 0.0 } else { lag - if unit.is_time { self.delay_seconds } else { 0.0 } };
        replay.max(shipping.unwrap_or_default()).max(0.0)
    }
}

/// The standbys in the configuration whose lag behind the primary is known, each with its lag beyond the orders.
fn configured(database: &Snapshot, unit: &Unit) -> Result<Vec<(String, f64)>, SkipReason> {
    let table = database.table("members");
    let shipping = |member: &str| {
        let table = table.as_ref()?;
        table.number(unit.shipping, table.find(&[label("member", member)])?)
    };
    let lags = database.values(unit.member_metric)?;
    let behind = lags.rows().filter_map(|row| {
        let member = row.label("member")?;
        let orders = Orders::from_snapshot(database.member(member).as_deref());
        Some((member.to_owned(), orders.beyond(row.value(), shipping(member), unit)))
    });
    Ok(behind.collect())
}

fn members_behind(database: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let behind = configured(database, &SECONDS)?;
    let members = members(database);
    let unknown = standbys(&members, &behind).filter_map(|standby| {
        let why = unmeasured(database, &members, standby, &SECONDS)?;
        Some(Observation::unknown(vec![label("member", standby.server.clone())], why))
    });
    let unknown: Vec<_> = unknown.collect();
    let known = behind.into_iter().map(|(member, lag)| match is_minimum(database, &member) {
        true => Observation::at_least(vec![label("member", member)], lag, SkipReason::PartFailed(NOT_WATCHED.to_owned())),
        false => Observation::new(vec![label("member", member)], lag),
    });
    Ok(known.chain(unknown).collect())
}

/// Whether the lag began before the agent watched the primary. The true lag may then be longer.
fn is_minimum(database: &Snapshot, member: &str) -> bool {
    let table = database.table("members");
    table.is_some_and(|table| table.find(&[label("member", member)]).is_some_and(|row| table.is("lag_is_minimum", row)))
}

/// The standbys in the configuration whose lag behind the primary is unknown.
fn standbys<'a>(members: &'a [Member], known: &'a [(String, f64)]) -> impl Iterator<Item = &'a Member> {
    members.iter().filter(|member| member.is_standby() && !known.iter().any(|(known, _)| *known == member.server))
}

/// The reason why the lag of a standby is unknown, if the standby or its primary could not be read. The standby's own lag must not count
/// then: it may have replayed all WAL that arrived, although little arrived.
fn unmeasured(database: &Snapshot, members: &[Member], standby: &Member, unit: &Unit) -> Option<SkipReason> {
    let primary = members.iter().find(|member| member.is_primary());
    let unread = |member: &Member| match database.member(&member.server) {
        Some(facts) => facts.readable(unit.sender_metric).err(),
        None => Some(SkipReason::NoData),
    };
    [Some(standby), primary].into_iter().flatten().find_map(unread)
}

/// Observes the lag of every standby in bytes. For seconds, the check `member-lag` covers the standbys in the configuration.
fn all_behind_in_bytes(database: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let behind = configured(database, &BYTES)?;
    let mut all: Vec<_> = behind.into_iter().map(|(member, lag)| Observation::new(vec![label("server", member)], lag)).collect();
    all.extend(unconfigured_behind(database, &BYTES)?);
    Ok(all)
}

/// Observes the standbys that cannot be measured against the primary: by their senders, or by themselves.
fn unconfigured_behind(database: &Snapshot, unit: &Unit) -> Result<Vec<Observation>, SkipReason> {
    let known = configured(database, unit)?;
    let members = members(database);
    let mut all = Vec::new();
    let mut senders = 0;
    for member in &members {
        let Some(facts) = database.member(&member.server) else { continue };
        let server = label("server", &member.server);
        if let Err(reason) = facts.readable(unit.sender_metric) {
            all.push(Observation::unknown(vec![server], reason));
            continue;
        }
        senders += count_senders(&facts).unwrap_or_default();
        if standbys(&members, &known).any(|standby| standby.server == member.server) {
            if let Some(why) = unmeasured(database, &members, member, unit) {
                all.push(Observation::unknown(vec![server], why));
                continue;
            }
            let orders = Orders::from_snapshot(Some(&facts));
            let own = each_value(&facts, unit.own)?;
            all.extend(own.into_iter().map(|own| Observation::new(vec![server.clone()], orders.beyond(own.value, None, unit))));
        }
    }
    // All receivers are in the configuration, so the primary measures each of them.
    if senders <= members.iter().filter(|member| receives(database, member)).count() {
        return Ok(all);
    }
    let names = names_of_standbys(&members);
    // An unreachable standby may still receive under a name of its sender, with an unknown delay.
    let missing = members.iter().find(|member| member.is_standby() && !member.is_up);
    for member in &members {
        let Some(facts) = database.member(&member.server) else { continue };
        let Ok(others) = each_value(&facts, unit.sender_metric) else { continue };
        let others = others.into_iter().filter(|other| !is_named(&names, &other.labels));
        let labels = |own: Vec<Label>| [vec![label("server", &member.server)], own].concat();
        all.extend(others.map(|other| match missing {
            None => Observation::new(labels(other.labels), other.value),
            Some(missing) => {
                let why = format!("{} is not reached, and may be this standby", missing.server);
                Observation::unknown(labels(other.labels), SkipReason::PartFailed(why))
            }
        }));
    }
    Ok(all)
}

/// The names that a sender may use for a configured standby: its address, its host, and the host's first label.
fn names_of_standbys(members: &[Member]) -> Vec<String> {
    let standbys = members.iter().filter(|member| member.is_standby());
    let names = standbys.flat_map(|member| {
        let host = member.server.rsplit_once(':').map_or(member.server.as_str(), |(host, _)| host);
        [member.server.as_str(), host, host.split('.').next().unwrap_or(host)]
    });
    names.map(str::to_owned).collect()
}

/// Whether the label `standby` has one of these names. The address is not compared, since many standbys may share an address.
fn is_named(names: &[String], labels: &[Label]) -> bool {
    labels.iter().any(|label| label.name == "standby" && names.contains(&label.value))
}

fn member_lag(case: &Case) -> Explanation {
    let (member, lag) = (case.label("member"), text::duration(case.value));
    let lag = if is_minimum(case.snapshot, member) { format!("at least {lag}") } else { lag };
    let orders = Orders::from_snapshot(case.snapshot.member(member).as_deref());
    let bytes = case.related_series(MEMBER_LAG_BYTES).map(|bytes| evidence("lag in WAL", text::bytes(bytes)));
    Explanation {
        title: format!("{member} is {lag} behind its primary{}", than_ordered(orders)),
        detail: format!(
            "Changes of {lag} are not yet replayed by {member}{}. Reads from it are that old, and a failover to it loses these changes or \
             waits.",
            than_ordered(orders)
        ),
        cause:
            "More writes than the network or the standby's disk can handle, a replay that waits for a query, or a standby that receives \
             nothing."
                .to_owned(),
        fix: "On the primary: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, client_addr, state, sent_lsn, \
              write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication; COMMIT;`: if it is not there, read the standby's log. On the \
              standby: `SELECT pg_catalog.pg_get_wal_replay_pause_state();` and `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, \
              query_start FROM pg_stat_activity WHERE backend_xmin IS NOT NULL ORDER BY query_start LIMIT 5; COMMIT;`."
            .to_owned(),
        evidence: bytes.into_iter().chain(ordered(orders)).collect(),
    }
}

fn than_ordered(orders: Orders) -> String {
    match orders {
        Orders { is_paused: true, .. } => ", in addition to its paused replay".to_owned(),
        Orders { delay_seconds, .. } if delay_seconds > 0.0 => format!(", beyond its delay of {}", text::duration(delay_seconds)),
        _ => String::new(),
    }
}

fn ordered(orders: Orders) -> Option<Label> {
    (orders.delay_seconds > 0.0).then(|| evidence("recovery_min_apply_delay", text::duration(orders.delay_seconds)))
}

fn replication_lag(case: &Case, behind: &str) -> Explanation {
    let server = case.label("server");
    let who = match (case.label("standby"), case.label("client")) {
        ("", _) => server.to_owned(),
        (standby, "") => format!("standby {standby} of {server}"),
        (standby, client) => format!("standby {standby} ({client}) of {server}"),
    };
    let facts = case.snapshot.member(server);
    let is_of_sender = !case.label("standby").is_empty();
    let orders = if is_of_sender { Orders::default() } else { Orders::from_snapshot(facts.as_deref()) };
    let (seconds, bytes) = if is_of_sender { (SENDER_LAG_SECONDS, SENDER_LAG_BYTES) } else { (OWN_LAG_SECONDS, OWN_LAG_BYTES) };
    let lag = |name: &str, metric: &str, show: fn(f64) -> String| Some(evidence(name, show(series(facts.as_ref()?, metric, case)?)));
    let or_ordered = if is_of_sender { ", or one with a configured delay: recovery_min_apply_delay" } else { "" };
    Explanation {
        title: format!("{who} is {behind} behind"),
        detail: format!(
            "Changes of {behind} wait to be replayed by {who}{}. Reads from it are that old, and a failover to it loses these changes or \
             waits.",
            than_ordered(orders)
        ),
        cause: format!(
            "More writes than the network or the standby's disk can handle, a replay paused by a long query on the standby, or a standby \
             that was unreachable{or_ordered}."
        ),
        fix: "On the sender: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, state, sent_lsn, write_lsn, flush_lsn, \
              replay_lsn FROM pg_stat_replication; COMMIT;` the first that lags is the bottleneck. If only replay lags: `SELECT \
              pg_catalog.pg_get_wal_replay_pause_state();` and queries older than max_standby_streaming_delay on the standby."
            .to_owned(),
        evidence: [lag("lag in time", seconds, text::duration), lag("lag in WAL", bytes, text::bytes), ordered(orders)]
            .into_iter()
            .flatten()
            .collect(),
    }
}

/// The value of the series that fits the labels of the case. None if the metric is unreadable or no series fits.
fn series(facts: &Snapshot, metric: &str, case: &Case) -> Option<f64> {
    facts.readable(metric).ok()?;
    let equals = |name: &str| Matcher { label: name.to_owned(), pattern: Pattern::Equals(case.label(name).to_owned()) };
    let matching: Vec<_> = if case.label("standby").is_empty() { Vec::new() } else { vec![equals("standby"), equals("client")] };
    facts.samples(metric, &matching, Reading::Value).values.first().copied()
}
