//! What speaks against indexes and tables, with the numbers.

use std::collections::HashMap;

use pharos_model::postgres::index_facts::{Counted, IndexShape, Kinship, Reads, ScannedTable, UsageSettings, bloated, unused};
use pharos_model::unjudged::Unjudged;

use super::Known;
use super::definitions::{Definitions, KeyCandidate, TableName};
use crate::collect::postgres::visit::relations::{Relations, TableRow};

/// Facts of one kind in one datname; the largest relations first.
const EACH_MAX: usize = 200;

/// The tables that list facts.
pub const LIST: &str = "index_facts";
const SCHEMA_LIST: &str = "schema_facts";

/// Names of facts.
pub const INVALID: &str = "invalid";
const UNUSED: &str = "unused";
const DUPLICATE: &str = "duplicate";
const REDUNDANT: &str = "redundant";
const BLOATED: &str = "bloated";
const FOREIGN_KEY: &str = "foreign-key-without-index";
const NO_PRIMARY_KEY: &str = "no-primary-key";
const SEQUENTIAL_SCANS: &str = "sequential-scans";

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
    /// For the index of a partitioned table: those of all partitions together.
    pub partitions_bytes: Option<i64>,
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
    /// Of an unused one: for how long its scans are counted, and whether that time alone speaks against dropping it.
    pub counted_seconds: Option<f64>,
    pub is_too_young: bool,
    /// Of an invalid one: who is about to drop it.
    pub dropper: Option<Dropper>,
}

/// A session that drops an index, or changes it, and has not finished.
#[derive(Debug, Clone)]
pub struct Dropper {
    pub pid: i64,
    pub user: Option<String>,
    /// By the server's clock, seconds since 1970.
    pub started_at: Option<f64>,
    /// For others to finish.
    pub waits: bool,
}

impl IndexFact {
    pub fn new(table: TableName, index: String, fact: &'static str, evidence: String) -> Self {
        Self {
            index,
            index_schema: table.schema.clone(),
            table,
            fact,
            other: None,
            size_bytes: None,
            partitions_bytes: None,
            scans: None,
            evidence,
            guard: None,
            is_unique: false,
            key_columns: None,
            duplicates_where: None,
            is_exclusion: false,
            counted_seconds: None,
            is_too_young: false,
            dropper: None,
        }
    }
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
    /// None where neither vacuum nor analyse has counted them.
    pub rows: Option<f64>,
    pub evidence: String,
    pub candidate: Option<KeyCandidate>,
}

/// An index, one that stays in its place, and how they are related.
type Superfluous<'a> = (&'a IndexShape, &'a IndexShape, Kinship);

/// With what is not judged.
pub fn of_indexes(
    relations: &Relations,
    indexes: &[IndexShape],
    superfluous: &[Superfluous<'_>],
    invalid: (Vec<IndexFact>, Vec<Unjudged>),
    known: &Known,
    usage: &UsageSettings,
) -> (Vec<IndexFact>, Vec<Unjudged>) {
    let definitions = &known.definitions;
    let fact = |index: &IndexShape, fact, other: Option<&IndexShape>, evidence, guard| {
        let partitions_bytes = definitions.partitioned.get(&index.oid).copied();
        let has_storage = partitions_bytes.is_none();
        let table = definitions.tables.get(&index.table)?.clone();
        Some(IndexFact {
            other: other.map(|other| other.name.clone()),
            size_bytes: has_storage.then_some(index.size_bytes),
            partitions_bytes,
            scans: has_storage.then_some(index.scans),
            guard,
            is_unique: index.is_unique,
            is_exclusion: index.is_exclusion,
            ..IndexFact::new(table, index.name.clone(), fact, evidence)
        })
    };
    let with_storage: Vec<IndexShape> = indexes.iter().filter(|index| !definitions.partitioned.contains_key(&index.oid)).cloned().collect();
    let asked_at = relations.surroundings.asked_at;
    let seen_seconds = |index: u32| known.first_seen.seconds(index, asked_at);
    let counted = Counted { age_seconds: relations.surroundings.statistics_age, seen_seconds };
    let found = unused(&with_storage, superfluous, &definitions.foreign_keys, &counted, usage);
    let unused = found.into_iter().filter_map(|found| {
        let unused = fact(found.index, UNUSED, None, found.evidence, found.guard)?;
        Some(IndexFact { counted_seconds: found.counted_seconds, is_too_young: found.is_too_young, ..unused })
    });
    let superfluous = superfluous.iter().filter_map(|(index, other, kinship)| {
        let name = match kinship {
            Kinship::Duplicate => DUPLICATE,
            Kinship::Redundant => REDUNDANT,
        };
        fact(index, name, Some(other), superfluous_evidence(index, other, *kinship), index.guard())
    });
    let bloated = with_storage.iter().filter_map(|index| {
        let bloat = known.estimates.get(&index.oid)?.bloat()?;
        fact(index, BLOATED, None, bloated(index.size_bytes, &bloat, usage)?, None)
    });
    let (invalid, mut unjudged) = invalid;
    let (superfluous, duplicates): (Vec<_>, Vec<_>) = superfluous.partition(|fact| fact.fact == REDUNDANT);
    let datname = &relations.surroundings.datname;
    let mut facts: Vec<IndexFact> = Vec::new();
    // The gravest first: not all may find room.
    for each in [invalid, duplicates, superfluous, bloated.collect(), unused.collect()] {
        let (kept, left_out) = largest(each, |fact| fact.size_bytes.unwrap_or(i64::MAX));
        unjudged.extend(left_out.map(|(first, count)| left_out_of(LIST, first.fact, datname, &first.size_bytes, count)));
        facts.extend(kept);
    }
    unjudged.extend(unread(relations, definitions));
    (facts, unjudged)
}

/// Tables whose indexes found no room are not compared with anything. They are named, unless they are too many.
fn unread(relations: &Relations, definitions: &Definitions) -> Vec<Unjudged> {
    const FACTS: [(&str, &str); 3] = [(LIST, DUPLICATE), (LIST, REDUNDANT), (SCHEMA_LIST, FOREIGN_KEY)];
    let datname = &relations.surroundings.datname;
    let unread = &definitions.unread_tables;
    if definitions.has_unlisted_tables || unread.len() > EACH_MAX {
        let why = format!("{datname} has more indexes than are compared");
        return FACTS.map(|(list, fact)| Unjudged::of_datname(list, fact, datname, None, why.clone())).into();
    }
    let named = relations.tables.iter().filter(|table| unread.contains(&table.oid));
    let of_table = |table: &TableRow| {
        FACTS.map(|(list, fact)| Unjudged {
            schema: Some(table.schema.to_string()),
            relation: Some(table.relation.to_string()),
            ..Unjudged::of_datname(list, fact, datname, None, "it has more indexes than are compared".to_owned())
        })
    };
    named.flat_map(of_table).collect()
}

/// Facts of a datname that are beyond those that are listed; the largest of them has this size.
fn left_out_of(list: &'static str, fact: &'static str, datname: &str, size_bytes: &Option<i64>, count: usize) -> Unjudged {
    let why = format!("{count} more of {datname} than the {EACH_MAX} that are listed, which are the largest");
    Unjudged::of_datname(list, fact, datname, size_bytes.map(|bytes| bytes as f64), why)
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

fn counted(rows: Option<f64>) -> String {
    rows.map_or_else(|| "an unknown number of rows".to_owned(), |rows| format!("{rows} rows"))
}

/// With what is not judged.
pub fn of_schema(relations: &Relations, known: &Known, usage: &UsageSettings) -> (Vec<SchemaFact>, Vec<Unjudged>) {
    let definitions = &known.definitions;
    let names: HashMap<(u32, &str), usize> =
        definitions.foreign_keys.iter().enumerate().map(|(place, key)| ((key.table, key.name.as_str()), place)).collect();
    let tables: HashMap<u32, &TableRow> = relations.tables.iter().map(|table| (table.oid, table)).collect();
    // A table that neither vacuum nor analyse has seen has no pages in the catalogue, however large it is.
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
    let (scanned, mut unjudged) = scanned(relations, known, usage);
    let datname = &relations.surroundings.datname;
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
    (facts, unjudged)
}

/// Tables that are mostly read as a whole, and those of whose reads too little is known.
fn scanned(relations: &Relations, known: &Known, usage: &UsageSettings) -> (Vec<SchemaFact>, Vec<Unjudged>) {
    let datname = &relations.surroundings.datname;
    let (mut facts, mut unknown) = (Vec::new(), Vec::new());
    for table in relations.tables.iter().filter(|table| table.is_users()) {
        let name = || TableName { schema: table.schema.to_string(), relation: table.relation.to_string() };
        match known.scans.reads(&scanned_table(table), usage) {
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
    (facts, unjudged)
}

/// A table as its reads are judged. What is scanned is the table itself, without its TOAST relation.
pub fn scanned_table(table: &TableRow) -> ScannedTable {
    ScannedTable { oid: table.oid, size_bytes: table.heap_bytes, rows: table.counted_rows(), counters: table.scans() }
}

/// Those that are listed, and the first of the others with how many there are.
fn largest<T: Clone>(mut all: Vec<T>, size: fn(&T) -> i64) -> (Vec<T>, Option<(T, usize)>) {
    all.sort_by_key(|one| std::cmp::Reverse(size(one)));
    let others = all.split_off(all.len().min(EACH_MAX));
    let left_out = others.first().map(|first| (first.clone(), others.len()));
    (all, left_out)
}
