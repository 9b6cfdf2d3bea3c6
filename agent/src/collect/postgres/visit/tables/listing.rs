//! The most important tables, and the relations whose size could not be read, as rows.

use pharos_model::row_selection::{Respect, interleaved, left_out, worst_rows};
use pharos_model::snapshot::{Column, Table};
use pharos_model::unjudged::{self, Unjudged};

use super::readings::TableReadings;
use crate::collect::postgres::visit::bloat::{self, Estimate};
use crate::collect::postgres::visit::relations::{DatnameContext, LockedRelation, TableRow};

/// Most tables listed for one respect, such as size. There are ten respects, most of which concern few tables.
const EACH_MAX: usize = 100;
/// Most locked relations listed in the table. More have one cause, which the first ones show.
const LOCKED_MAX: usize = 500;

const MIB: f64 = 1_048_576.0;
/// Smallest values that rules judge: dead rows, rows with old statistics, a table without autovacuum, unused space.
const DEAD_BYTES_MIN: f64 = 512.0 * MIB;
const ROWS_MIN: f64 = 100_000.0;
const DISABLED_BYTES_MIN: f64 = 100.0 * MIB;
const AIR_BYTES_MIN: f64 = 1_024.0 * MIB;
/// Smallest table that may have as many rows as rules judge.
const ROWS_BYTES_MIN: f64 = 3.0 * MIB;

/// Returns the values by which people search tables.
fn searched<'a>() -> [fn(&Row<'a>) -> f64; 4] {
    [
        |row| (row.table.size_bytes + row.table.indexes_bytes) as f64,
        |row| row.table.dead_rows as f64,
        |row| row.table.distance.pressure.max(row.table.distance.analyze_pressure),
        |row| row.bloat_bytes().unwrap_or(0.0),
    ]
}

/// Returns the values of a table that rules judge, by the columns that the rules read.
fn judged<'a>() -> [Respect<Row<'a>>; 6] {
    [
        ("vacuum_pressure", Row::vacuum_pressure),
        ("analyze_pressure", Row::analyze_pressure),
        ("vacuum_enabled", Row::disabled_bytes),
        ("xid_age", |row| row.table.xid_age.unwrap_or(0) as f64),
        ("multixact_age", |row| row.table.multixact_age.unwrap_or(0) as f64),
        ("bloat_ratio", Row::large_bloat_ratio),
    ]
}

/// Returns why rules cannot judge a table in some respects. The value is the size of such a table.
fn unknown<'a>() -> [(Respect<Row<'a>>, &'static str); 4] {
    [
        (("vacuum_pressure", Row::uncounted_bytes), "neither vacuum nor analyse has counted its dead rows since the statistics began"),
        (("analyze_pressure", Row::unanalyzed_bytes), "no analyse has counted its rows since the statistics began"),
        (("vacuum_enabled", Row::unmeasured), "its size is not known"),
        (("bloat_ratio", Row::unestimated_bytes), bloat::UNKNOWN),
    ]
}

/// A table with the settings and times of its datname.
struct Row<'a> {
    context: &'a DatnameContext,
    table: &'a TableRow,
    estimate: Option<Estimate>,
}

impl Row<'_> {
    fn datname(&self) -> &str {
        &self.context.datname
    }

    fn bloat_bytes(&self) -> Option<f64> {
        self.estimate.and_then(|estimate| estimate.bloat()).map(|bloat| bloat.bytes)
    }

    fn name(&self) -> unjudged::Name<'_> {
        (&self.context.datname, &self.table.schema, &self.table.relation, None)
    }

    fn vacuum_pressure(&self) -> f64 {
        if self.table.dead_bytes() as f64 >= DEAD_BYTES_MIN { self.table.distance.pressure } else { 0.0 }
    }

    fn analyze_pressure(&self) -> f64 {
        if self.table.live_rows as f64 >= ROWS_MIN { self.table.distance.analyze_pressure } else { 0.0 }
    }

    fn disabled_bytes(&self) -> f64 {
        at_least(DISABLED_BYTES_MIN, self.table.size_bytes, !self.table.vacuum.is_enabled)
    }

    /// Share of unused space, or 0 if that space is too small to be judged.
    fn large_bloat_ratio(&self) -> f64 {
        let bloat = self.estimate.and_then(|estimate| estimate.bloat()).filter(|bloat| bloat.bytes >= AIR_BYTES_MIN);
        bloat.map_or(0.0, |bloat| bloat.ratio)
    }

    /// Size of a table whose dead rows neither vacuum nor analyze counted since the statistics began, or 0.
    fn uncounted_bytes(&self) -> f64 {
        let is_counted = self.table.vacuumed_at.is_some() || self.table.analyzed_at.is_some();
        at_least(DEAD_BYTES_MIN, self.table.heap_bytes, !is_counted)
    }

    /// Size of a table without an analyze since the statistics began, or 0.
    fn unanalyzed_bytes(&self) -> f64 {
        at_least(ROWS_BYTES_MIN, self.table.heap_bytes, self.table.analyzed_at.is_none())
    }

    /// The guessed size (at least 1) of a table without autovacuum whose size is unknown, or 0.
    fn unmeasured(&self) -> f64 {
        let is_unmeasured = !self.table.vacuum.is_enabled && self.table.known_size().is_none();
        if is_unmeasured { self.table.size_bytes.max(1) as f64 } else { 0.0 }
    }

    fn unestimated_bytes(&self) -> f64 {
        at_least(AIR_BYTES_MIN, self.table.heap_bytes, !self.estimate.is_some_and(|estimate| estimate.is_explained()))
    }

    fn since(&self, at: Option<f64>) -> Option<f64> {
        at.map(|at| (self.context.asked_at - at).max(0.0))
    }
}

/// Returns the size if the condition holds and the size reaches the minimum, or 0.
fn at_least(bytes_min: f64, bytes: i64, condition: bool) -> f64 {
    let bytes = bytes as f64;
    if condition && bytes >= bytes_min { bytes } else { 0.0 }
}

/// Lists the first tables by every value that people search or rules judge. The second table lists what rules cannot judge.
pub(super) fn tables(readings: &[TableReadings], cure: &str) -> [Table; 2] {
    let rows: Vec<Row<'_>> = readings
        .iter()
        .flat_map(|reading| {
            reading.relations.tables.iter().map(|table| {
                let estimate = reading.estimates.get(&table.oid).copied();
                Row { context: &reading.relations.context, table, estimate }
            })
        })
        .collect();
    let respects: Vec<_> = searched().into_iter().chain(judged().map(|(_, value)| value)).collect();
    let listed = worst_rows(&rows, EACH_MAX, &respects);
    let unjudged = unjudged(&rows, &listed, readings);
    let listed: Vec<&Row<'_>> = listed.into_iter().map(|index| &rows[index]).collect();
    let integers = |value: fn(&TableRow) -> i64| listed.iter().map(move |row| Some(value(row.table)));
    let floats = |value: fn(&Row<'_>) -> Option<f64>| listed.iter().map(move |row| value(row));
    let table = Table::new(
        "tables",
        vec![
            Column::text("datname", listed.iter().map(|row| Some(row.context.datname.as_str()))),
            Column::text("schema", listed.iter().map(|row| Some(&*row.table.schema))),
            Column::text("relation", listed.iter().map(|row| Some(&*row.table.relation))),
            Column::integer("size_bytes", listed.iter().map(|row| row.table.known_size())),
            Column::integer("indexes_size_bytes", listed.iter().map(|row| row.table.known_indexes_size())),
            Column::boolean("size_is_exact", listed.iter().map(|row| Some(row.table.size_is_exact))),
            Column::integer("live_rows", integers(|table| table.live_rows)),
            Column::integer("dead_rows", integers(|table| table.dead_rows)),
            Column::integer("dead_bytes", integers(TableRow::dead_bytes)),
            Column::float("vacuum_trigger", "rows", floats(|row| Some(row.table.distance.trigger))),
            Column::float("vacuum_pressure", "ratio", floats(|row| Some(row.table.distance.pressure))),
            Column::float("insert_pressure", "ratio", floats(|row| row.table.distance.insert_pressure)),
            Column::float("analyze_pressure", "ratio", floats(|row| Some(row.table.distance.analyze_pressure))),
            Column::boolean("vacuum_enabled", listed.iter().map(|row| Some(row.table.vacuum.is_enabled))),
            Column::float("seconds_since_vacuum", "seconds", floats(|row| row.since(row.table.vacuumed_at))),
            Column::float("seconds_since_analyze", "seconds", floats(|row| row.since(row.table.analyzed_at))),
            Column::integer("xid_age", listed.iter().map(|row| row.table.xid_age)),
            Column::integer("multixact_age", listed.iter().map(|row| row.table.multixact_age)),
            Column::integer("bloat_bytes", listed.iter().map(|row| row.bloat_bytes().map(|bytes| bytes as i64))),
            Column::float("bloat_ratio", "ratio", floats(|row| row.estimate?.bloat().map(|bloat| bloat.ratio))),
            Column::text("bloat_state", listed.iter().map(|row| row.estimate.map(|estimate| estimate.state()))),
            Column::text("bloat_cure", listed.iter().map(|row| (row.estimate == Some(Estimate::NotEstimable)).then_some(cure))),
            Column::integer("sequential_scans", integers(|table| table.sequential_scans)),
            Column::integer("sequential_rows", integers(|table| table.sequential_rows)),
            Column::integer("index_scans", integers(|table| table.index_scans)),
        ],
    );
    [table, Table::new("unjudged_tables", unjudged::columns(unjudged))]
}

fn unjudged(rows: &[Row<'_>], listed: &[usize], readings: &[TableReadings]) -> Vec<Unjudged> {
    let mut unjudged: Vec<Unjudged> =
        left_out(rows, listed, Row::datname, &judged()).iter().map(|left| Unjudged::left_out("tables", left)).collect();
    unjudged.extend(unknown().into_iter().flat_map(|(respect, why)| unjudged::unknown("tables", rows, respect, why, Row::name)));
    // Tables that were not read are small, but may be old.
    for DatnameContext { datname, .. } in
        readings.iter().filter(|reading| reading.relations.has_more_tables).map(|reading| &reading.relations.context)
    {
        let why = || format!("{datname} has more tables than are read");
        unjudged.extend(["xid_age", "multixact_age"].map(|respect| Unjudged::of_datname("tables", respect, datname, None, why())));
    }
    let locked: usize = readings.iter().map(|reading| reading.relations.locked.len()).sum();
    if locked > LOCKED_MAX || readings.iter().any(|reading| reading.relations.has_more_locked) {
        let why = "more relations are locked than are listed".to_owned();
        unjudged.push(Unjudged { list: "locked_relations", respect: "state", why, ..Unjudged::default() });
    }
    unjudged
}

/// Lists relations whose size could not be read, because a session locks them or waits to lock them.
pub(super) fn locked_relations(readings: &[TableReadings]) -> Table {
    let locked = readings
        .iter()
        .flat_map(|reading| reading.relations.locked.iter().map(|locked| (reading.relations.context.datname.as_str(), locked)));
    let mut rows: Vec<(&str, &LockedRelation)> = interleaved(locked, |(datname, _)| *datname);
    rows.truncate(LOCKED_MAX);
    let texts = |value: fn(&LockedRelation) -> Option<&str>| rows.iter().map(move |(_, locked)| value(locked));
    Table::new(
        "locked_relations",
        vec![
            Column::text("datname", rows.iter().map(|(datname, _)| Some(*datname))),
            Column::text("schema", texts(|locked| Some(&locked.schema))),
            Column::text("relation", texts(|locked| Some(&locked.relation))),
            Column::text("mode", texts(|locked| Some(&locked.mode))),
            Column::text("state", texts(|locked| Some(&locked.state))),
            Column::integer("pid", rows.iter().map(|(_, locked)| locked.locker.pid)),
            Column::text("user", texts(|locked| locked.locker.user.as_deref())),
            Column::text("application", texts(|locked| locked.locker.application.as_deref())),
            Column::text("session_state", texts(|locked| locked.locker.session_state.as_deref())),
            Column::float("backend_start", "seconds", rows.iter().map(|(_, locked)| locked.locker.backend_start)),
            Column::text("prepared", texts(|locked| locked.locker.prepared.as_deref())),
        ],
    )
}
