//! Connections by state, and how long each state has lasted.

use std::collections::BTreeMap;

use pharos_model::snapshot::{Column, FamiliesBuilder, Family, PartId, Table};

use super::wait_classes::WAITS;
use crate::collect::CollectError;
use crate::collect::postgres::row::Fields;
use crate::postgres::monitor::Row;

const PART: PartId = PartId::Activity;

/// Totals of connections by datname, state and wait.
#[derive(Default)]
pub(super) struct Totals {
    connections: BTreeMap<(String, String), f64>,
    waiting: BTreeMap<String, f64>,
    connections_max: Option<f64>,
    /// Whether the server records what sessions do (track_activities).
    pub tracks_activities: bool,
    query_age: f64,
    transaction_age: f64,
    idle_in_transaction_age: f64,
    xmin_age: f64,
}

impl Totals {
    /// Whether a session waits for a lock.
    pub(super) fn waits_for_locks(&self) -> bool {
        self.waiting.contains_key("Lock")
    }

    pub(super) fn read(rows: &[Row]) -> Result<Self, CollectError> {
        let mut totals = Self::default();
        for row in rows {
            let row = Fields::new(PART, row);
            totals.connections_max = row.number("connections_max")?;
            totals.tracks_activities = row.field("tracks_activities")?;
            let Some(datname) = row.field::<Option<String>>("datname")? else { continue };
            let connections = row.number("connections")?.unwrap_or(0.0);
            *totals.connections.entry((datname, row.text("state")?.to_owned())).or_default() += connections;
            if let Some(wait) = row.field::<Option<String>>("wait_event_type")? {
                *totals.waiting.entry(wait).or_default() += connections;
            }
            let oldest = |column: &str, known: f64| Ok::<_, CollectError>(known.max(row.number(column)?.unwrap_or(0.0)));
            totals.query_age = oldest("query_age", totals.query_age)?;
            totals.transaction_age = oldest("transaction_age", totals.transaction_age)?;
            totals.idle_in_transaction_age = oldest("idle_in_transaction_age", totals.idle_in_transaction_age)?;
            totals.xmin_age = oldest("xmin_age", totals.xmin_age)?;
        }
        Ok(totals)
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let mut connections = FamiliesBuilder::new(&["datname", "state"], &["pharos_postgres_connections"]);
        for ((datname, state), count) in &self.connections {
            connections.push(&[datname, state], &[Some(*count)]);
        }
        // A class without waiting sessions is 0. Without a value, an alert about it would stay instead of resolving.
        let mut waits: BTreeMap<&str, f64> = WAITS.iter().map(|wait| (*wait, 0.0)).collect();
        waits.extend(self.waiting.iter().map(|(wait, count)| (wait.as_str(), *count)));
        let mut waiting = FamiliesBuilder::new(&["wait_event_type"], &["pharos_postgres_waiting_connections"]);
        for (wait, count) in waits {
            waiting.push(&[wait], &[Some(count)]);
        }
        let mut families = vec![
            Family::scalar("pharos_postgres_query_age_max_seconds", self.query_age),
            Family::scalar("pharos_postgres_transaction_age_max_seconds", self.transaction_age),
            Family::scalar("pharos_postgres_idle_in_transaction_age_max_seconds", self.idle_in_transaction_age),
            Family::scalar("pharos_postgres_xmin_age_max_transactions", self.xmin_age),
        ];
        families.extend(connections.finish());
        families.extend(waiting.finish());
        if let Some(max) = self.connections_max.filter(|max| *max > 0.0) {
            // `sum` would return -0 for an empty list.
            let used = self.connections.values().fold(0.0, |sum, count| sum + count);
            families.push(Family::scalar("pharos_postgres_connections_max", max));
            families.push(Family::scalar("pharos_postgres_connections_used_ratio", used / max));
        }
        families
    }
}

/// Makes the table of sessions with the oldest transactions.
pub(super) fn sessions(rows: &[Row]) -> Result<Table, CollectError> {
    let rows: Vec<Fields<'_>> = rows.iter().map(|row| Fields::new(PART, row)).collect();
    let texts = |column: &str| rows.iter().map(|row| row.field::<Option<&str>>(column)).collect::<Result<Vec<_>, _>>();
    let floats = |column: &str| rows.iter().map(|row| row.number(column)).collect::<Result<Vec<_>, _>>();
    let integers = |column: &str| rows.iter().map(|row| row.field::<Option<i64>>(column)).collect::<Result<Vec<_>, _>>();
    let mut columns = vec![Column::integer("pid", integers("pid")?), Column::integer("query_id", integers("query_id")?)];
    for name in ["datname", "user", "application", "state", "wait_event_type", "wait_event"] {
        columns.push(Column::text(name, texts(name)?));
    }
    for name in ["transaction_seconds", "state_seconds"] {
        columns.push(Column::float(name, "seconds", floats(name)?));
    }
    columns.push(Column::float("backend_start", "seconds", floats("backend_start")?));
    Ok(Table::new("sessions", columns))
}
