//! The most important indexes, and the facts about indexes and tables, as rows.

use pharos_model::postgres::unused_indexes::CANDIDATES_MAX;
use pharos_model::row_selection::{Respect, interleaved, left_out, worst_rows};
use pharos_model::snapshot::{Column, Table};
use pharos_model::unjudged::{self, Unjudged};

use super::definitions::KeyCandidate;
use super::index_facts::IndexFact;
use super::readings::IndexReadings;
use super::schema_facts::SchemaFact;
use crate::collect::postgres::visit::bloat::{self, Estimate};
use crate::collect::postgres::visit::relations::{DatnameContext, IndexRow};

/// Most indexes listed for one respect, such as size. Unused indexes have a larger limit of their own.
const EACH_MAX: usize = 100;
/// Most facts listed of all datnames together. Datnames take turns, so that none fills the list alone.
const FACTS_MAX: usize = 2_000;
/// Smallest unused space that rules judge, in bytes. A smaller index cannot have so much.
const AIR_BYTES_MIN: f64 = 256.0 * 1_048_576.0;

/// The numbers of an index that rules judge.
fn judged<'a>() -> [Respect<Row<'a>>; 1] {
    [("bloat_ratio", Row::large_bloat_ratio)]
}

/// An index with the settings and times of its datname.
struct Row<'a> {
    context: &'a DatnameContext,
    index: &'a IndexRow,
    estimate: Option<Estimate>,
    is_constraint: bool,
}

impl Row<'_> {
    fn datname(&self) -> &str {
        &self.context.datname
    }

    fn bloat_bytes(&self) -> Option<f64> {
        self.estimate.and_then(|estimate| estimate.bloat()).map(|bloat| bloat.bytes)
    }

    /// Share of unused space, or 0 if that space is too small to be judged.
    fn large_bloat_ratio(&self) -> f64 {
        let bloat = self.estimate.and_then(|estimate| estimate.bloat()).filter(|bloat| bloat.bytes >= AIR_BYTES_MIN);
        bloat.map_or(0.0, |bloat| bloat.ratio)
    }

    fn name(&self) -> unjudged::Name<'_> {
        (&self.context.datname, &self.index.schema, &self.index.relation, Some(&self.index.index))
    }

    /// Size of a large index whose unused space is not known, or 0.
    fn unestimated_bytes(&self) -> f64 {
        let is_known = self.estimate.is_some_and(|estimate| estimate.is_explained());
        let size = self.index.size_bytes as f64;
        if is_known || size < AIR_BYTES_MIN { 0.0 } else { size }
    }

    /// Size of an index of a user that has no scans and is not unique, or 0. Standbys list such indexes as well.
    fn unused_bytes(&self) -> f64 {
        let is_candidate = self.index.scans == 0 && self.index.is_users() && !self.index.is_unique;
        if is_candidate { self.index.size_bytes.max(1) as f64 } else { 0.0 }
    }
}

/// Makes all tables of the part.
pub(super) fn tables(readings: &[IndexReadings], cure: &str) -> Vec<Table> {
    let (indexes, mut unjudged) = indexes(readings, cure);
    let (index_facts, schema_facts) = (index_facts(readings, &mut unjudged), schema_facts(readings, &mut unjudged));
    unjudged.extend(readings.iter().flat_map(|reading| reading.unjudged.iter().cloned()));
    vec![indexes, index_facts, schema_facts, Table::new("unjudged_indexes", unjudged::columns(unjudged))]
}

/// Lists the first indexes by size, scans and bloat, the unused and the invalid ones. Also returns what rules cannot judge.
fn indexes(readings: &[IndexReadings], cure: &str) -> (Table, Vec<Unjudged>) {
    let rows: Vec<Row<'_>> = readings
        .iter()
        .flat_map(|reading| {
            reading.relations.indexes.iter().map(|index| Row {
                context: &reading.relations.context,
                index,
                estimate: reading.estimates.get(&index.oid).copied(),
                is_constraint: reading.constraints.contains(&index.oid),
            })
        })
        .collect();
    let mut listed = worst_rows(
        &rows,
        EACH_MAX,
        &[
            |row| row.index.size_bytes as f64,
            |row| row.index.scans as f64,
            |row| row.bloat_bytes().unwrap_or(0.0),
            |row| f64::from(u8::from(!row.index.is_valid)),
            Row::large_bloat_ratio,
        ],
    );
    listed.extend(worst_rows(&rows, CANDIDATES_MAX, &[Row::unused_bytes]));
    listed.sort_unstable();
    listed.dedup();
    let mut unjudged: Vec<Unjudged> =
        left_out(&rows, &listed, Row::datname, &judged()).iter().map(|left| Unjudged::left_out("indexes", left)).collect();
    unjudged.extend(unjudged::unknown("indexes", &rows, ("bloat_ratio", Row::unestimated_bytes), bloat::UNKNOWN, Row::name));
    let listed: Vec<&Row<'_>> = listed.into_iter().map(|index| &rows[index]).collect();
    let since = |row: &Row<'_>| row.index.last_scan_at.map(|at| (row.context.asked_at - at).max(0.0));
    let table = Table::new(
        "indexes",
        vec![
            Column::text("datname", listed.iter().map(|row| Some(row.context.datname.as_str()))),
            Column::text("schema", listed.iter().map(|row| Some(&*row.index.schema))),
            Column::text("relation", listed.iter().map(|row| Some(&*row.index.relation))),
            Column::text("index", listed.iter().map(|row| Some(&*row.index.index))),
            Column::integer("size_bytes", listed.iter().map(|row| row.index.known_size())),
            Column::boolean("size_is_exact", listed.iter().map(|row| Some(row.index.size_is_exact))),
            Column::integer("scans", listed.iter().map(|row| Some(row.index.scans))),
            Column::float("last_scan_seconds", "seconds", listed.iter().map(|row| since(row))),
            Column::boolean("is_unique", listed.iter().map(|row| Some(row.index.is_unique))),
            Column::boolean("is_primary", listed.iter().map(|row| Some(row.index.is_primary))),
            Column::boolean("is_valid", listed.iter().map(|row| Some(row.index.is_valid))),
            Column::boolean("is_constraint", listed.iter().map(|row| Some(row.is_constraint))),
            Column::integer("bloat_bytes", listed.iter().map(|row| row.bloat_bytes().map(|bytes| bytes as i64))),
            Column::float("bloat_ratio", "ratio", listed.iter().map(|row| row.estimate?.bloat().map(|bloat| bloat.ratio))),
            Column::text("bloat_state", listed.iter().map(|row| row.estimate.map(|estimate| estimate.state()))),
            Column::text("bloat_cure", listed.iter().map(|row| (row.estimate == Some(Estimate::NotEstimable)).then_some(cure))),
        ],
    );
    (table, unjudged)
}

/// Limits a list of facts. Datnames take turns, and facts beyond the limit are reported as not judged.
fn limited<'a, T>(
    facts: impl Iterator<Item = (&'a DatnameContext, &'a T)>,
    list: &'static str,
    about: fn(&T) -> (&'static str, Option<i64>),
    unjudged: &mut Vec<Unjudged>,
) -> Vec<(&'a DatnameContext, &'a T)> {
    let mut rows = interleaved(facts, |(context, _)| context.datname.as_str());
    let others = rows.split_off(rows.len().min(FACTS_MAX));
    unjudged.extend(others.into_iter().map(|(context, fact)| {
        let (respect, size_bytes) = about(fact);
        let why = "the server has more facts than are listed".to_owned();
        Unjudged::of_datname(list, respect, &context.datname, size_bytes.map(|bytes| bytes as f64), why)
    }));
    rows
}

fn index_facts(readings: &[IndexReadings], unjudged: &mut Vec<Unjudged>) -> Table {
    let facts = readings.iter().flat_map(|reading| reading.index_facts.iter().map(|fact| (&reading.relations.context, fact)));
    let rows: Vec<(&DatnameContext, &IndexFact)> = limited(facts, "index_facts", |fact| (fact.fact, fact.size_bytes), unjudged);
    let texts = |value: fn(&IndexFact) -> Option<&str>| rows.iter().map(move |(_, fact)| value(fact));
    Table::new(
        "index_facts",
        vec![
            Column::text("datname", rows.iter().map(|(context, _)| Some(context.datname.as_str()))),
            Column::text("schema", texts(|fact| Some(&fact.table.schema))),
            Column::text("relation", texts(|fact| Some(&fact.table.relation))),
            Column::text("index", texts(|fact| Some(&fact.index))),
            Column::text("fact", texts(|fact| Some(fact.fact))),
            Column::text("other", texts(|fact| fact.other.as_deref())),
            Column::integer("size_bytes", rows.iter().map(|(_, fact)| fact.size_bytes)),
            Column::integer("partitions_size_bytes", rows.iter().map(|(_, fact)| fact.partitions_bytes)),
            Column::integer("scans", rows.iter().map(|(_, fact)| fact.scans)),
            Column::float("stats_age_seconds", "seconds", rows.iter().map(|(context, _)| context.statistics_age)),
            Column::text("evidence", texts(|fact| Some(&fact.evidence))),
            Column::text("guard", texts(|fact| fact.guard.as_deref())),
            Column::text("index_schema", texts(|fact| Some(&fact.index_schema))),
            Column::text("key_columns", texts(|fact| fact.key_columns.as_deref())),
            Column::text("duplicates_where", texts(|fact| fact.duplicates_where.as_deref())),
            Column::boolean("is_exclusion", rows.iter().map(|(_, fact)| Some(fact.is_exclusion))),
            Column::boolean("is_unique", rows.iter().map(|(_, fact)| Some(fact.is_unique))),
            Column::float("counted_seconds", "seconds", rows.iter().map(|(_, fact)| fact.counted_seconds)),
            Column::boolean("is_too_young", rows.iter().map(|(_, fact)| Some(fact.is_too_young))),
            Column::integer("dropper_pid", rows.iter().map(|(_, fact)| Some(fact.dropper.as_ref()?.pid))),
            Column::text("dropper_user", texts(|fact| fact.dropper.as_ref()?.user.as_deref())),
            Column::float("dropper_start", "seconds", rows.iter().map(|(_, fact)| fact.dropper.as_ref()?.started_at)),
            Column::boolean("dropper_waits", rows.iter().map(|(_, fact)| Some(fact.dropper.as_ref()?.waits))),
        ],
    )
}

fn schema_facts(readings: &[IndexReadings], unjudged: &mut Vec<Unjudged>) -> Table {
    let facts = readings.iter().flat_map(|reading| reading.schema_facts.iter().map(|fact| (&reading.relations.context, fact)));
    let rows: Vec<(&str, &SchemaFact)> = limited(facts, "schema_facts", |fact| (fact.fact, Some(fact.size_bytes)), unjudged)
        .into_iter()
        .map(|(context, fact)| (context.datname.as_str(), fact))
        .collect();
    let texts = |value: fn(&SchemaFact) -> Option<&str>| rows.iter().map(move |(_, fact)| value(fact));
    let keys = |value: fn(&KeyCandidate) -> Option<&str>| rows.iter().map(move |(_, fact)| value(fact.candidate.as_ref()?));
    Table::new(
        "schema_facts",
        vec![
            Column::text("datname", rows.iter().map(|(datname, _)| Some(*datname))),
            Column::text("schema", texts(|fact| Some(&fact.table.schema))),
            Column::text("relation", texts(|fact| Some(&fact.table.relation))),
            Column::text("fact", texts(|fact| Some(fact.fact))),
            Column::text("name", texts(|fact| fact.name.as_deref())),
            Column::text("columns", texts(|fact| fact.columns.as_deref())),
            Column::integer("size_bytes", rows.iter().map(|(_, fact)| Some(fact.size_bytes))),
            Column::float("rows", "rows", rows.iter().map(|(_, fact)| fact.rows)),
            Column::text("evidence", texts(|fact| Some(&fact.evidence))),
            Column::text("kind", texts(|fact| Some(&fact.kind))),
            Column::text("column_list", texts(|fact| fact.column_list.as_deref())),
            Column::boolean("is_nullable", rows.iter().map(|(_, fact)| Some(fact.candidate.as_ref()?.is_nullable))),
            Column::text("unique_index", keys(|key| key.unique_index.as_deref())),
            Column::text("partition_key", keys(|key| key.partition_key.as_deref())),
            Column::text("free_column", keys(|key| Some(&key.free_column))),
            Column::text("obstacle", keys(|key| key.obstacle.as_deref())),
        ],
    )
}
