//! What happened: plugin generations, alert transitions, and whatever later parts record.

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde_json::Value;

use super::{Store, StoreError};

/// Events that are kept.
const EVENTS_MAX: i64 = 10_000;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// `plugin`, `alert`, `withheld`, `role`, `setting`.
    pub kind: String,
    /// What it is about: a plugin's id, an alert's fingerprint, a database's name, a server's id.
    pub subject: String,
    pub detail: Value,
}

impl Store {
    /// Appends an event and forgets the oldest beyond the bound. One that belongs to a transition is written with that.
    pub async fn record(&self, event: Event) -> Result<(), StoreError> {
        self.spare(move |connection| append(connection, std::slice::from_ref(&event))).await
    }

    /// The newest events, newest first.
    pub async fn events(&self, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read(move |connection| list(connection, "1 ORDER BY id DESC LIMIT ?1", params![limit])).await
    }

    /// What happened to an alert, newest first: its transitions, and who was not told of it.
    pub async fn alert_history(&self, fingerprint: String, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.know_for_visitor(move |connection| alert_history(connection, &fingerprint, limit)).await
    }

    /// Fingerprints that begin so, of alerts whose history is kept; this many at most.
    pub async fn fingerprints(&self, begins: String, limit: u32) -> Result<Vec<String>, StoreError> {
        self.know_for_visitor(move |connection| fingerprints(connection, &begins, limit)).await
    }
}

/// `begins` are hex digits, and these come before `g`.
pub(super) fn fingerprints(connection: &Connection, begins: &str, limit: u32) -> rusqlite::Result<Vec<String>> {
    let begins = begins.to_ascii_lowercase();
    let mut query = connection
        .prepare_cached("SELECT DISTINCT subject FROM events WHERE kind = 'alert' AND subject >= ?1 AND subject < ?1 || 'g' LIMIT ?2")?;
    query.query_map(params![begins, limit], |row| row.get(0))?.collect()
}

/// What happened to an alert, newest first, for whoever reads a store without its agent as well.
pub(super) fn alert_history(connection: &Connection, fingerprint: &str, limit: u32) -> rusqlite::Result<Vec<Event>> {
    list(connection, "kind IN ('alert', 'withheld') AND subject = ?1 ORDER BY id DESC LIMIT ?2", params![fingerprint, limit])
}

fn list(connection: &Connection, wanted: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<Event>> {
    let mut query = connection.prepare_cached(&format!("SELECT at_ms, kind, subject, detail FROM events WHERE {wanted}"))?;
    query.query_map(parameters, event)?.collect()
}

/// Every event.
pub(super) fn oldest_first(connection: &Connection) -> rusqlite::Result<Vec<Event>> {
    list(connection, "1 ORDER BY id", [])
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let detail: String = row.get(3)?;
    Ok(Event {
        at_ms: row.get::<_, i64>(0)?.unsigned_abs(),
        kind: row.get(1)?,
        subject: row.get(2)?,
        detail: serde_json::from_str(&detail).unwrap_or(Value::String(detail)),
    })
}

/// The oldest beyond the bound go.
pub(super) fn append(connection: &Connection, events: &[Event]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO events (at_ms, kind, subject, detail) VALUES (?1, ?2, ?3, ?4)")?;
    for Event { at_ms, kind, subject, detail } in events {
        insert.execute(params![i64::try_from(*at_ms).unwrap_or(i64::MAX), kind, subject, detail.to_string()])?;
    }
    let forget = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?1";
    connection.prepare_cached(forget)?.execute(params![EVENTS_MAX]).map(drop)
}
