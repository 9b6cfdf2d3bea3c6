//! The table of events. Their kinds are in [`pharos_model::event`].

use pharos_model::event::{Event, EventKind};
use rusqlite::{Connection, Row, params};

use super::columns::{number, signed};

/// Most stored events. Older events are removed, since the table would grow without a bound.
const EVENTS_MAX: i64 = 10_000;

/// An event with its place in the table.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// Younger events have greater ids.
    pub id: u64,
    pub event: Event,
}

/// Fingerprints of stored alerts that begin with these hex digits. Hex digits sort before `g`, which ends the range.
pub(super) fn fingerprints(connection: &Connection, begins: &str, limit: u32) -> rusqlite::Result<Vec<String>> {
    let begins = begins.to_ascii_lowercase();
    let mut query = connection
        .prepare_cached("SELECT DISTINCT subject FROM events WHERE kind = ?3 AND subject >= ?1 AND subject < ?1 || 'g' LIMIT ?2")?;
    query.query_map(params![begins, limit, EventKind::Alert.as_str()], |row| row.get("subject"))?.collect()
}

/// The events of an alert, newest first.
pub(super) fn alert_history(connection: &Connection, fingerprint: &str, limit: u32) -> rusqlite::Result<Vec<Event>> {
    let kinds = [EventKind::Alert, EventKind::Withheld].map(EventKind::as_str);
    let wanted = "kind IN (?1, ?2) AND subject = ?3 ORDER BY id DESC LIMIT ?4";
    list(connection, wanted, params![kinds[0], kinds[1], fingerprint, limit])
}

/// One page of an alert's history, newest first. The ids of the events mark where the next page begins.
pub(super) fn alert_history_page(
    connection: &Connection,
    fingerprint: &str,
    before: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Vec<StoredEvent>> {
    let kinds = [EventKind::Alert, EventKind::Withheld].map(EventKind::as_str);
    let mut query = connection.prepare_cached(
        "SELECT id, at_ms, kind, subject, detail FROM events
         WHERE kind IN (?1, ?2) AND subject = ?3 AND id < ?4 ORDER BY id DESC LIMIT ?5",
    )?;
    let parameters = params![kinds[0], kinds[1], fingerprint, before.map_or(i64::MAX, signed), limit];
    query.query_map(parameters, |row| Ok(StoredEvent { id: number(row, "id")?, event: event(row)? }))?.collect()
}

fn list(connection: &Connection, wanted: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<Event>> {
    let mut query = connection.prepare_cached(&format!("SELECT at_ms, kind, subject, detail FROM events WHERE {wanted}"))?;
    query.query_map(parameters, event)?.collect()
}

/// The newest events, newest first.
pub(super) fn newest(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Event>> {
    list(connection, "1 ORDER BY id DESC LIMIT ?1", params![limit])
}

/// Every event, oldest first.
pub(super) fn oldest_first(connection: &Connection) -> rusqlite::Result<Vec<Event>> {
    list(connection, "1 ORDER BY id", [])
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event::from_stored(number(row, "at_ms")?, row.get("kind")?, row.get("subject")?, row.get("detail")?))
}

/// Appends events, and removes the oldest beyond the bound.
pub(super) fn append(connection: &Connection, events: &[Event]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO events (at_ms, kind, subject, detail) VALUES (?1, ?2, ?3, ?4)")?;
    for event in events {
        insert.execute(params![signed(event.at_ms), event.kind(), event.subject, event.stored_detail().to_string()])?;
    }
    let remove = "DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?1";
    connection.prepare_cached(remove)?.execute(params![EVENTS_MAX]).map(drop)
}
