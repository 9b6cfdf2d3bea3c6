//! Facts about indexes that are a reason to drop, rebuild or repair them, with their numbers.

use pharos_model::postgres::index_facts::{CountedTime, IndexShape, Kinship, UsageSettings, bloated, unused};
use pharos_model::unjudged::Unjudged;

use super::bounded_lists::{EACH_MAX, Found, largest, left_out_of};
use super::definitions::{Definitions, TableName};
use super::index_state::IndexState;
use super::schema_facts::{FOREIGN_KEY, SCHEMA_LIST};
use crate::collect::postgres::visit::relations::{Relations, TableRow};

/// The table that lists facts about indexes.
pub(super) const LIST: &str = "index_facts";

/// Names of facts.
pub(super) const INVALID: &str = "invalid";
const UNUSED: &str = "unused";
const DUPLICATE: &str = "duplicate";
const REDUNDANT: &str = "redundant";
const BLOATED: &str = "bloated";

/// A reason to drop, rebuild or repair an index.
#[derive(Debug, Clone)]
pub(super) struct IndexFact {
    pub table: TableName,
    pub index: String,
    /// The schema of the index: that of its table, except for an index of a TOAST relation.
    pub index_schema: String,
    pub fact: &'static str,
    /// The index that makes this one superfluous, or the index that this one was made to replace.
    pub other: Option<String>,
    /// Size of the index. The index of a partitioned table has none.
    pub size_bytes: Option<i64>,
    /// Size of the indexes of all partitions together, for the index of a partitioned table.
    pub partitions_bytes: Option<i64>,
    pub scans: Option<i64>,
    pub evidence: String,
    /// A reason not to act on the fact.
    pub guard: Option<String>,
    pub is_unique: bool,
    /// Columns and expressions of the key, for a unique index that is not valid. They are left out if they call functions of users.
    pub key_columns: Option<String>,
    /// The condition for rows among which the key must be unique, as SQL.
    pub duplicates_where: Option<String>,
    /// Whether the index belongs to an exclusion constraint, so it cannot be rebuilt while other sessions write.
    pub is_exclusion: bool,
    /// For how long scans are counted, in seconds, for an unused index.
    pub counted_seconds: Option<f64>,
    /// Whether an unused index should stay only because its scans are not counted for long enough.
    pub is_too_young: bool,
    /// The session that is about to drop an invalid index.
    pub dropper: Option<Dropper>,
}

/// A session that drops an index, or changes it, and has not finished.
#[derive(Debug, Clone)]
pub(super) struct Dropper {
    pub pid: i64,
    pub user: Option<String>,
    /// Time by the server's clock, in seconds since 1970.
    pub started_at: Option<f64>,
    /// Whether the session waits for others to finish.
    pub waits: bool,
}

impl IndexFact {
    pub(super) fn new(table: TableName, index: String, fact: &'static str, evidence: String) -> Self {
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

/// A superfluous index, the index that can replace it, and how they are related.
pub(super) type Superfluous<'a> = (&'a IndexShape, &'a IndexShape, Kinship);

/// The readings from which the facts about the indexes of one datname are made.
pub(super) struct Evidence<'a> {
    pub relations: &'a Relations,
    pub indexes: &'a [IndexShape],
    pub superfluous: &'a [Superfluous<'a>],
    pub state: &'a IndexState,
    pub usage: &'a UsageSettings,
}

/// Finds indexes that are superfluous, bloated or unused, and adds them to the invalid ones. The most serious facts come first.
pub(super) fn index_facts(evidence: &Evidence<'_>, invalid: Found<IndexFact>) -> Found<IndexFact> {
    let Evidence { relations, indexes, superfluous, state, usage } = *evidence;
    let definitions = &state.definitions;
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
    let asked_at = relations.context.asked_at;
    let known_seconds = |index: u32| state.first_seen.seconds(index, asked_at);
    let counted = CountedTime { age_seconds: relations.context.statistics_age, known_seconds };
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
        let bloat = state.estimates.get(&index.oid)?.bloat()?;
        fact(index, BLOATED, None, bloated(index.size_bytes, &bloat, usage)?, None)
    });
    let Found { facts: invalid, mut unjudged } = invalid;
    let (superfluous, duplicates): (Vec<_>, Vec<_>) = superfluous.partition(|fact| fact.fact == REDUNDANT);
    let datname = &relations.context.datname;
    let mut facts: Vec<IndexFact> = Vec::new();
    // The most serious facts come first, since the list is limited.
    for each in [invalid, duplicates, superfluous, bloated.collect(), unused.collect()] {
        let (kept, left_out) = largest(each, |fact| fact.size_bytes.unwrap_or(i64::MAX));
        unjudged.extend(left_out.map(|(first, count)| left_out_of(LIST, first.fact, datname, &first.size_bytes, count)));
        facts.extend(kept);
    }
    unjudged.extend(unread(relations, definitions));
    Found { facts, unjudged }
}

/// Lists tables whose indexes were not read, because of the limits. They are listed by name, unless they are too many.
fn unread(relations: &Relations, definitions: &Definitions) -> Vec<Unjudged> {
    const FACTS: [(&str, &str); 3] = [(LIST, DUPLICATE), (LIST, REDUNDANT), (SCHEMA_LIST, FOREIGN_KEY)];
    let datname = &relations.context.datname;
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

fn superfluous_evidence(index: &IndexShape, other: &IndexShape, kinship: Kinship) -> String {
    let [own_scans, other_scans] = [index, other].map(|index| format!("{} scans", index.scans));
    match kinship {
        Kinship::Duplicate => {
            format!("{} has the same columns, operators, order and condition; {own_scans} here, {other_scans} there", other.name)
        }
        Kinship::Redundant => {
            let more = other.keys.len() - index.keys.len();
            format!("{} answers the same queries, with {more} more key columns; {own_scans} here, {other_scans} there", other.name)
        }
    }
}
