//! Facts about tables that are a reason to add a key or an index, with their numbers.

use std::collections::HashMap;

use pharos_model::postgres::index_facts::{Reads, ScannedTable, UsageSettings};
use pharos_model::unjudged::Unjudged;

use super::bounded_lists::{Found, largest, left_out_of};
use super::definitions::{KeyCandidate, TableName};
use super::index_state::IndexState;
use crate::collect::postgres::visit::relations::{Relations, TableRow};

/// The table that lists facts about tables.
pub(super) const SCHEMA_LIST: &str = "schema_facts";

/// Names of facts.
pub(super) const FOREIGN_KEY: &str = "foreign-key-without-index";
const NO_PRIMARY_KEY: &str = "no-primary-key";
const SEQUENTIAL_SCANS: &str = "sequential-scans";

/// A reason to add a key or an index to a table.
#[derive(Debug, Clone)]
pub(super) struct SchemaFact {
    pub table: TableName,
    pub fact: &'static str,
    /// Name of the constraint.
    pub name: Option<String>,
    pub columns: Option<String>,
    /// The columns as SQL writes them.
    pub column_list: Option<String>,
    /// `table`, `partitioned` or `parent`.
    pub kind: String,
    pub size_bytes: i64,
    /// Number of rows, once vacuum or analyze has counted them.
    pub rows: Option<f64>,
    pub evidence: String,
    pub candidate: Option<KeyCandidate>,
}

/// Finds tables without an index for a foreign key, without a primary key, and with sequential scans that an index would spare.
pub(super) fn schema_facts(relations: &Relations, state: &IndexState, usage: &UsageSettings) -> Found<SchemaFact> {
    let definitions = &state.definitions;
    let names: HashMap<(u32, &str), usize> =
        definitions.foreign_keys.iter().enumerate().map(|(place, key)| ((key.table, key.name.as_str()), place)).collect();
    let tables: HashMap<u32, &TableRow> = relations.tables.iter().map(|table| (table.oid, table)).collect();
    // Before the first vacuum or analyze the catalogue has no pages of a table, even of a large one.
    let measured = |oid: u32, size_bytes: i64, rows: Option<f64>| match tables.get(&oid) {
        Some(table) => (table.known_size().unwrap_or(size_bytes), table.counted_rows()),
        None => (size_bytes, rows),
    };
    let keys = definitions.keys_without_index().into_iter().filter_map(|key| {
        let referring = definitions.referring.get(*names.get(&(key.table, key.name.as_str()))?)?;
        let (size_bytes, rows) = measured(key.table, referring.size_bytes, referring.rows);
        Some(SchemaFact {
            table: referring.table.clone(),
            fact: FOREIGN_KEY,
            name: Some(key.name.clone()),
            columns: Some(referring.columns.clone()),
            column_list: Some(referring.column_list.clone()),
            kind: referring.kind.clone(),
            candidate: None,
            size_bytes,
            rows,
            evidence: format!("no index begins with {}; each delete of a referenced row reads {}", referring.columns, counted(rows)),
        })
    });
    let without_key = definitions.without_key.iter().map(|table| (table, measured(table.oid, table.size_bytes, table.rows)));
    let without_key = without_key.map(|(table, (size_bytes, rows))| SchemaFact {
        table: table.table.clone(),
        fact: NO_PRIMARY_KEY,
        name: None,
        columns: None,
        column_list: table.candidate.column_list.clone(),
        kind: table.candidate.kind.clone(),
        candidate: Some(table.candidate.clone()),
        size_bytes,
        rows,
        evidence: format!("no primary key, {}; its replica identity is {}", counted(rows), table.replica_identity),
    });
    let Found { facts: scanned, mut unjudged } = scanned(relations, state, usage);
    let datname = &relations.context.datname;
    let mut facts: Vec<SchemaFact> = Vec::new();
    for each in [keys.collect::<Vec<_>>(), without_key.collect(), scanned] {
        let (kept, left_out) = largest(each, |fact| fact.size_bytes);
        unjudged.extend(left_out.map(|(first, count)| left_out_of(SCHEMA_LIST, first.fact, datname, &Some(first.size_bytes), count)));
        facts.extend(kept);
    }
    if definitions.may_lack_tables_without_key() {
        let why = format!("{datname} may have more tables without a primary key than are listed, which are the largest");
        unjudged.push(Unjudged::of_datname(SCHEMA_LIST, NO_PRIMARY_KEY, datname, None, why));
    }
    Found { facts, unjudged }
}

/// Finds tables that are mostly read as a whole, and tables about whose reads too little is known.
fn scanned(relations: &Relations, state: &IndexState, usage: &UsageSettings) -> Found<SchemaFact> {
    let datname = &relations.context.datname;
    let (mut facts, mut unknown) = (Vec::new(), Vec::new());
    for table in relations.tables.iter().filter(|table| table.is_users()) {
        let name = || TableName { schema: table.schema.to_string(), relation: table.relation.to_string() };
        match state.scans.reads(&scanned_table(table), usage) {
            Reads::Whole(evidence) => facts.push(SchemaFact {
                table: name(),
                fact: SEQUENTIAL_SCANS,
                name: None,
                columns: None,
                column_list: None,
                kind: "table".to_owned(),
                candidate: None,
                size_bytes: table.size_bytes,
                rows: table.counted_rows(),
                evidence,
            }),
            Reads::Unknown(why) => unknown.push((table.size_bytes, name(), why)),
            Reads::Fine => {}
        }
    }
    let (unknown, left_out) = largest(unknown, |(size_bytes, ..)| *size_bytes);
    let mut unjudged: Vec<Unjudged> = unknown
        .into_iter()
        .map(|(_, table, why)| Unjudged {
            schema: Some(table.schema),
            relation: Some(table.relation),
            ..Unjudged::of_datname(SCHEMA_LIST, SEQUENTIAL_SCANS, datname, None, why.to_owned())
        })
        .collect();
    unjudged.extend(left_out.map(|((_, _, why), count)| {
        let why = format!("{count} more tables of {datname} are not judged; of the largest of them: {why}");
        Unjudged::of_datname(SCHEMA_LIST, SEQUENTIAL_SCANS, datname, None, why)
    }));
    Found { facts, unjudged }
}

/// Describes a table for the judgement of its reads. The size leaves out the TOAST relation: a scan reads the table itself.
pub(super) fn scanned_table(table: &TableRow) -> ScannedTable {
    ScannedTable { oid: table.oid, size_bytes: table.heap_bytes, rows: table.counted_rows(), counters: table.scans() }
}

fn counted(rows: Option<f64>) -> String {
    rows.map_or_else(|| "an unknown number of rows".to_owned(), |rows| format!("{rows} rows"))
}
