//! Indexes that no query may use. They are asked for in every visit: one that is being made is none, and the end of that changes no other
//! fact.

use pharos_model::index_facts::size_text;
use tokio_postgres::types::Type;

use super::definitions::TableName;
use super::facts::IndexFact;
use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::postgres::visit::relations::Relations;
use crate::postgres::{Row, Session};

/// Invalid indexes of one datname. More are told when these are gone.
const INVALID_MAX: i64 = 200;

pub async fn read(session: &Session, collector: &'static str, relations: &Relations) -> Result<Vec<IndexFact>, CollectError> {
    let rows = query_with(session, collector, include_str!("../../sql/invalid_indexes.sql"), &[(&INVALID_MAX, Type::INT8)]).await?;
    rows.iter().map(|row| fact(collector, row, relations)).collect()
}

fn fact(collector: &'static str, row: &Row, relations: &Relations) -> Result<IndexFact, CollectError> {
    let row = Fields::new(collector, row);
    let oid: u32 = row.field("oid")?;
    let counted = relations.indexes.iter().find(|index| index.oid == oid);
    let pages_bytes = row.field::<i64>("pages")?.saturating_mul(relations.surroundings.block_size);
    let size_bytes = counted.map_or(pages_bytes, |index| index.size_bytes);
    let keys: Option<Vec<&str>> = row.field("key_columns")?;
    let keys = keys.map(|keys| keys.join(", "));
    Ok(IndexFact {
        table: TableName { schema: row.text("schema")?.to_owned(), relation: row.text("relation")?.to_owned() },
        index: row.text("index")?.to_owned(),
        index_schema: row.text("index_schema")?.to_owned(),
        fact: "invalid",
        other: row.field("leftover_of")?,
        size_bytes: Some(size_bytes),
        scans: counted.map(|index| index.scans),
        evidence: format!("it is not valid: no query uses it, writes may maintain it; {} on disk", size_text(size_bytes)),
        guard: needed_by(&row)?,
        is_unique: row.field("is_unique")?,
        duplicates_where: keys.as_deref().map(|keys| where_duplicates(&row, keys)).transpose()?,
        key_columns: keys,
        is_exclusion: row.field("is_exclusion")?,
    })
}

/// What keeps it from being dropped.
fn needed_by(row: &Fields<'_>) -> Result<Option<String>, CollectError> {
    let constraint: Option<&str> = row.field("constraint")?;
    let is_attached: bool = row.field("is_attached")?;
    let of_partition = is_attached.then(|| "it belongs to the index of a partitioned table".to_owned());
    Ok(constraint.map(|name| format!("the constraint {name} needs it")).or(of_partition))
}

/// The rows among which a unique index allows none twice. Rows with a null are equal to no other one unless it was made so.
fn where_duplicates(row: &Fields<'_>, keys: &str) -> Result<String, CollectError> {
    let condition: Option<&str> = row.field("condition")?;
    let nulls_are_equal: bool = row.field("nulls_not_distinct")?;
    let no_null = (!nulls_are_equal).then(|| format!("ROW({keys}) IS NOT NULL"));
    let conditions: Vec<String> = condition.map(|condition| format!("({condition})")).into_iter().chain(no_null).collect();
    Ok(conditions.join(" AND "))
}
