//! The tables worth a look, and the relations that nobody could look at, as rows.

use pharos_model::foremost::foremost;
use pharos_model::snapshot::{Column, Table};

use super::Look;
use crate::collect::postgres::visit::bloat::Estimate;
use crate::collect::postgres::visit::relations::{LockedRelation, Surroundings, TableRow};

/// Tables that are listed for one respect; there are five.
const EACH_MAX: usize = 100;
const LOCKED_MAX: usize = 500;

/// A table with what is known of its surroundings.
struct Row<'a> {
    surroundings: &'a Surroundings,
    table: &'a TableRow,
    estimate: Option<Estimate>,
}

impl Row<'_> {
    fn bloat_bytes(&self) -> Option<f64> {
        self.estimate.and_then(|estimate| estimate.bloat()).map(|bloat| bloat.bytes)
    }

    fn since(&self, at: Option<f64>) -> Option<f64> {
        at.map(|at| (self.surroundings.asked_at - at).max(0.0))
    }
}

/// The worst by size, dead rows, pressure, age and bloat.
pub(super) fn tables(looks: &[Look], cure: &str) -> Table {
    let rows: Vec<Row<'_>> = looks
        .iter()
        .flat_map(|look| {
            look.relations.tables.iter().map(|table| {
                let estimate = look.estimates.get(&table.oid).copied();
                Row { surroundings: &look.relations.surroundings, table, estimate }
            })
        })
        .collect();
    let listed = foremost(
        &rows,
        EACH_MAX,
        &[
            |row| (row.table.size_bytes + row.table.indexes_bytes) as f64,
            |row| row.table.dead_rows as f64,
            |row| row.table.distance.pressure.max(row.table.distance.analyze_pressure),
            |row| row.table.xid_age.max(row.table.multixact_age).unwrap_or(0) as f64,
            |row| row.bloat_bytes().unwrap_or(0.0),
        ],
    );
    let listed: Vec<&Row<'_>> = listed.into_iter().map(|index| &rows[index]).collect();
    let integers = |value: fn(&TableRow) -> i64| listed.iter().map(move |row| Some(value(row.table)));
    let floats = |value: fn(&Row<'_>) -> Option<f64>| listed.iter().map(move |row| value(row));
    Table::new(
        "tables",
        vec![
            Column::text("datname", listed.iter().map(|row| Some(row.surroundings.datname.as_str()))),
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
    )
}

/// Relations whose size nobody could ask for, because somebody locks them or waits to.
pub(super) fn locked_relations(looks: &[Look]) -> Table {
    let locked =
        looks.iter().flat_map(|look| look.relations.locked.iter().map(|locked| (look.relations.surroundings.datname.as_str(), locked)));
    let rows: Vec<(&str, &LockedRelation)> = locked.take(LOCKED_MAX).collect();
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
