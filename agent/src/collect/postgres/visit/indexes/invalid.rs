//! Invalid indexes, which no query may use. They are read in every visit: when a session finishes or drops one, no other fact changes.
//!
//! An index that is being made is invalid until it is done, so it cannot be judged yet. An index that is being dropped is invalid until the
//! drop ends. That may take days, if the drop waits for a transaction that stays open.

use pharos_model::postgres::index_facts::size_text;
use pharos_model::snapshot::PartId;
use pharos_model::unjudged::Unjudged;
use tokio_postgres::types::Type;

use super::bounded_lists::Found;
use super::definitions::TableName;
use super::index_facts::{Dropper, INVALID, IndexFact, LIST};
use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::postgres::visit::relations::Relations;
use crate::postgres::monitor::{Row, Session};

/// Most invalid indexes read in one datname. The others are reported when these are repaired or dropped.
const INVALID_MAX: i64 = 200;

/// Reads the invalid indexes, and those that are being made, which cannot be judged yet.
pub(super) async fn read(session: &Session, collector: PartId, relations: &Relations) -> Result<Found<IndexFact>, CollectError> {
    let rows = query_with(session, collector, include_str!("../../sql/invalid_indexes.sql"), &[(&INVALID_MAX, Type::INT8)]).await?;
    let datname = &relations.context.datname;
    let (mut facts, mut unjudged) = (Vec::new(), Vec::new());
    for row in &rows {
        let fact = fact(collector, row, relations)?;
        if Fields::new(collector, row).field("is_being_made")? {
            unjudged.push(Unjudged {
                schema: Some(fact.table.schema),
                relation: Some(fact.table.relation),
                index: Some(fact.index),
                ..Unjudged::of_datname(LIST, INVALID, datname, None, "a session is making the index now".to_owned())
            });
        } else {
            facts.push(fact);
        }
    }
    if rows.len() as i64 >= INVALID_MAX {
        let why = format!("{datname} may have more invalid indexes than the {INVALID_MAX} largest, which are listed");
        unjudged.push(Unjudged::of_datname(LIST, INVALID, datname, None, why));
    }
    Ok(Found { facts, unjudged })
}

fn fact(collector: PartId, row: &Row, relations: &Relations) -> Result<IndexFact, CollectError> {
    let row = Fields::new(collector, row);
    let oid: u32 = row.field("oid")?;
    let counted = relations.indexes.iter().find(|index| index.oid == oid);
    let pages_bytes = row.field::<i64>("pages")?.saturating_mul(relations.context.block_size);
    let size_bytes = counted.map_or(pages_bytes, |index| index.size_bytes);
    let keys: Option<Vec<&str>> = row.field("key_columns")?;
    let keys = keys.map(|keys| keys.join(", "));
    let table = TableName { schema: row.text("schema")?.to_owned(), relation: row.text("relation")?.to_owned() };
    let evidence = format!("it is not valid: no query uses it, writes may maintain it; {} on disk", size_text(size_bytes));
    Ok(IndexFact {
        index_schema: row.text("index_schema")?.to_owned(),
        other: row.field("leftover_of")?,
        size_bytes: Some(size_bytes),
        scans: counted.map(|index| index.scans),
        guard: needed_by(&row)?,
        is_unique: row.field("is_unique")?,
        duplicates_where: keys.as_deref().map(|keys| where_duplicates(&row, keys)).transpose()?,
        key_columns: keys,
        is_exclusion: row.field("is_exclusion")?,
        dropper: dropper(&row)?,
        ..IndexFact::new(table, row.text("index")?.to_owned(), INVALID, evidence)
    })
}

/// Reads the session that locks the index and does not make it.
fn dropper(row: &Fields<'_>) -> Result<Option<Dropper>, CollectError> {
    let Some(pid) = row.field::<Option<i32>>("locker_pid")? else { return Ok(None) };
    Ok(Some(Dropper {
        pid: i64::from(pid),
        user: row.field("locker_user")?,
        started_at: row.number("locker_start")?,
        waits: row.field::<Option<bool>>("locker_waits")?.unwrap_or_default(),
    }))
}

/// Returns the reason not to drop the index, if there is one.
fn needed_by(row: &Fields<'_>) -> Result<Option<String>, CollectError> {
    let constraint: Option<&str> = row.field("constraint")?;
    let is_attached: bool = row.field("is_attached")?;
    let of_partition = is_attached.then(|| "it belongs to the index of a partitioned table".to_owned());
    Ok(constraint.map(|name| format!("the constraint {name} needs it")).or(of_partition))
}

/// Returns the condition for the rows among which the key must be unique. Rows with a null count only with NULLS NOT DISTINCT.
fn where_duplicates(row: &Fields<'_>, keys: &str) -> Result<String, CollectError> {
    let condition: Option<&str> = row.field("condition")?;
    let nulls_are_equal: bool = row.field("nulls_not_distinct")?;
    let no_null = (!nulls_are_equal).then(|| format!("ROW({keys}) IS NOT NULL"));
    let conditions: Vec<String> = condition.map(|condition| format!("({condition})")).into_iter().chain(no_null).collect();
    Ok(conditions.join(" AND "))
}
