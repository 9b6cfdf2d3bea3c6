//! What speaks against indexes and tables, with the numbers.

use std::collections::HashMap;

use pharos_model::index_facts::{Counted, IndexShape, Kinship, SequentialScans, UsageSettings, bloated, sequential_scans, unused};

use super::Known;
use super::definitions::{KeyCandidate, TableName};
use crate::collect::postgres::visit::relations::Relations;

/// Facts of one kind in one datname; the largest relations first.
const EACH_MAX: usize = 200;

/// Something against an index.
#[derive(Debug, Clone)]
pub struct IndexFact {
    pub table: TableName,
    pub index: String,
    /// That of its table, but for an index of a TOAST relation.
    pub index_schema: String,
    pub fact: &'static str,
    /// The index that makes it superfluous, or that it was made to replace.
    pub other: Option<String>,
    /// None for the index of a partitioned table.
    pub size_bytes: Option<i64>,
    pub scans: Option<i64>,
    pub evidence: String,
    /// What speaks against acting on it.
    pub guard: Option<String>,
    pub is_unique: bool,
    /// Of a unique index that is not valid: the columns and expressions of its key, and where rows count that have the same. None where
    /// they call functions that somebody made.
    pub key_columns: Option<String>,
    pub duplicates_where: Option<String>,
    /// It cannot be made anew while others write.
    pub is_exclusion: bool,
}

/// Something against a table.
#[derive(Debug, Clone)]
pub struct SchemaFact {
    pub table: TableName,
    pub fact: &'static str,
    /// Of the constraint.
    pub name: Option<String>,
    pub columns: Option<String>,
    /// The same as SQL writes them.
    pub column_list: Option<String>,
    /// `table`, `partitioned` or `parent`.
    pub kind: String,
    pub size_bytes: i64,
    pub rows: f64,
    pub evidence: String,
    pub candidate: Option<KeyCandidate>,
}

/// An index, one that stays in its place, and how they are related.
type Superfluous<'a> = (&'a IndexShape, &'a IndexShape, Kinship);

pub fn of_indexes(
    relations: &Relations,
    indexes: &[IndexShape],
    superfluous: &[Superfluous<'_>],
    invalid: Vec<IndexFact>,
    known: &Known,
    usage: &UsageSettings,
) -> Vec<IndexFact> {
    let definitions = &known.definitions;
    let fact = |index: &IndexShape, fact, other: Option<&IndexShape>, evidence, guard| {
        let has_storage = !definitions.partitioned.contains(&index.oid);
        let table = definitions.tables.get(&index.table)?.clone();
        Some(IndexFact {
            index: index.name.clone(),
            index_schema: table.schema.clone(),
            table,
            fact,
            other: other.map(|other| other.name.clone()),
            size_bytes: has_storage.then_some(index.size_bytes),
            scans: has_storage.then_some(index.scans),
            evidence,
            guard,
            is_unique: index.is_unique,
            key_columns: None,
            duplicates_where: None,
            is_exclusion: index.is_exclusion,
        })
    };
    let with_storage: Vec<IndexShape> = indexes.iter().filter(|index| !definitions.partitioned.contains(&index.oid)).cloned().collect();
    let asked_at = relations.surroundings.asked_at;
    let seen_seconds = |index: u32| known.first_seen.seconds(index, asked_at);
    let counted = Counted { age_seconds: relations.surroundings.statistics_age, seen_seconds };
    let found = unused(&with_storage, superfluous, &definitions.foreign_keys, &counted, usage);
    let unused = found.into_iter().filter_map(|found| fact(found.index, "unused", None, found.evidence, found.guard));
    let superfluous = superfluous.iter().filter_map(|(index, other, kinship)| {
        let name = match kinship {
            Kinship::Duplicate => "duplicate",
            Kinship::Redundant => "redundant",
        };
        fact(index, name, Some(other), superfluous_evidence(index, other, *kinship), index.guard())
    });
    let bloated = with_storage.iter().filter_map(|index| {
        let bloat = known.estimates.get(&index.oid)?.bloat()?;
        fact(index, "bloated", None, bloated(index.size_bytes, &bloat, usage)?, None)
    });
    let mut facts: Vec<IndexFact> = Vec::new();
    for each in [unused.collect::<Vec<_>>(), superfluous.collect(), invalid, bloated.collect()] {
        facts.extend(largest(each, |fact| fact.size_bytes.unwrap_or(i64::MAX)));
    }
    facts
}

fn superfluous_evidence(index: &IndexShape, other: &IndexShape, kinship: Kinship) -> String {
    let [mine, others] = [index, other].map(|index| format!("{} scans", index.scans));
    match kinship {
        Kinship::Duplicate => format!("{} has the same columns, operators, order and condition; {mine} here, {others} there", other.name),
        Kinship::Redundant => {
            let more = other.keys.len() - index.keys.len();
            format!("{} answers the same queries, with {more} more key columns; {mine} here, {others} there", other.name)
        }
    }
}

pub fn of_schema(relations: &Relations, known: &Known, usage: &UsageSettings) -> Vec<SchemaFact> {
    let definitions = &known.definitions;
    let names: HashMap<(u32, &str), usize> =
        definitions.foreign_keys.iter().enumerate().map(|(place, key)| ((key.table, key.name.as_str()), place)).collect();
    let keys = definitions.keys_without_index().into_iter().filter_map(|key| {
        let referring = definitions.referring.get(*names.get(&(key.table, key.name.as_str()))?)?;
        Some(SchemaFact {
            table: referring.table.clone(),
            fact: "foreign-key-without-index",
            name: Some(key.name.clone()),
            columns: Some(referring.columns.clone()),
            column_list: Some(referring.column_list.clone()),
            kind: referring.kind.clone(),
            candidate: None,
            size_bytes: referring.size_bytes,
            rows: referring.rows,
            evidence: format!("no index begins with {}; each delete of a referenced row reads {} rows", referring.columns, referring.rows),
        })
    });
    let without_key = definitions.without_key.iter().map(|table| SchemaFact {
        table: table.table.clone(),
        fact: "no-primary-key",
        name: None,
        columns: None,
        column_list: table.candidate.column_list.clone(),
        kind: table.candidate.kind.clone(),
        candidate: Some(table.candidate.clone()),
        size_bytes: table.size_bytes,
        rows: table.rows,
        evidence: format!("no primary key, {} rows; its replica identity is {}", table.rows, table.replica_identity),
    });
    let scanned = relations.tables.iter().filter(|table| table.is_users()).filter_map(|table| {
        let scans = SequentialScans {
            size_bytes: table.heap_bytes,
            sequential_scans: table.sequential_scans,
            sequential_rows: table.sequential_rows,
            index_scans: table.index_scans,
        };
        Some(SchemaFact {
            table: TableName { schema: table.schema.to_string(), relation: table.relation.to_string() },
            fact: "sequential-scans",
            name: None,
            columns: None,
            column_list: None,
            kind: "table".to_owned(),
            candidate: None,
            size_bytes: table.size_bytes,
            rows: table.rows(),
            evidence: sequential_scans(&scans, usage)?,
        })
    });
    let mut facts: Vec<SchemaFact> = Vec::new();
    for each in [keys.collect::<Vec<_>>(), without_key.collect(), scanned.collect()] {
        facts.extend(largest(each, |fact| fact.size_bytes));
    }
    facts
}

fn largest<T>(mut facts: Vec<T>, size: fn(&T) -> i64) -> Vec<T> {
    facts.sort_by_key(|fact| std::cmp::Reverse(size(fact)));
    facts.truncate(EACH_MAX);
    facts
}
