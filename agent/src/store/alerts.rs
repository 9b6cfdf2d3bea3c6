//! The tables of alerts. One transaction has a change of alerts with its events, audit rows and notifications.

use std::fmt::Display;

use pharos_model::alert::{Alert, SavedBook};
use pharos_model::audit::AuditEntry;
use pharos_model::dispatch;
use pharos_model::event::Event;
use pharos_model::outbox::NewRow;
use rusqlite::{Connection, OptionalExtension, params};
use tracing::warn;

use super::columns::{signed, unsigned};
use super::error::StoreError;
use super::handle::Store;
use super::{audit_chain, event_table, ledger, outbox};

const NEXT_INCIDENT: &str = "next_incident";

/// The changes of one evaluation, or of one request.
#[derive(Debug, Default)]
pub struct AlertChanges {
    /// Fingerprints with the JSON of the alert.
    pub upserts: Vec<(String, String)>,
    pub removed: Vec<String>,
    pub next_incident: u64,
    pub events: Vec<Event>,
    pub audit: Vec<AuditEntry>,
    /// Changes of the ledger, of silences and of acknowledgements.
    pub dispatch: dispatch::Changes,
    /// New notifications with their numbers.
    pub notifications: Vec<(u64, NewRow)>,
    pub now_ms: u64,
}

impl AlertChanges {
    pub fn new(upserts: &[Alert], removed: impl IntoIterator<Item = impl Display>, next_incident: u64) -> Self {
        let json = |alert: &Alert| Some((alert.fingerprint.to_string(), serde_json::to_string(alert).ok()?));
        Self {
            upserts: upserts.iter().filter_map(json).collect(),
            removed: removed.into_iter().map(|fingerprint| fingerprint.to_string()).collect(),
            next_incident,
            ..Self::default()
        }
    }
}

impl Store {
    /// Writes changes of alerts with their events, audit rows and notifications: all or nothing. While the file fails, memory retains them
    /// and the file gets them later.
    pub async fn save_alerts(&self, changes: AlertChanges) -> Result<(), StoreError> {
        self.write_essential(move |connection| save(connection, &changes)).await
    }

    /// Writes the changes of a request, whose author waits for the answer. An error means that nothing was written.
    pub async fn save_request(&self, changes: AlertChanges) -> Result<(), StoreError> {
        self.write_durable(move |connection| save(connection, &changes)).await
    }

    /// Restores the alerts of the previous agent. A record that this version cannot read is left out and logged.
    pub async fn alerts(&self) -> Result<SavedBook, StoreError> {
        self.read_essential(|connection| {
            let next: Option<i64> =
                connection.query_row("SELECT value FROM numbers WHERE name = ?1", params![NEXT_INCIDENT], |row| row.get(0)).optional()?;
            let mut query = connection.prepare("SELECT alert FROM alerts")?;
            let texts = query.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let alerts = texts.iter().filter_map(|text| parse(text)).collect();
            Ok(SavedBook { alerts, next_incident: next.map_or(1, unsigned) })
        })
        .await
    }
}

fn save(connection: &mut Connection, changes: &AlertChanges) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut upsert = transaction.prepare_cached("INSERT OR REPLACE INTO alerts (fingerprint, alert) VALUES (?1, ?2)")?;
        for (fingerprint, alert) in &changes.upserts {
            upsert.execute(params![fingerprint, alert])?;
        }
        let mut remove = transaction.prepare_cached("DELETE FROM alerts WHERE fingerprint = ?1")?;
        for fingerprint in &changes.removed {
            remove.execute(params![fingerprint])?;
        }
    }
    let next = signed(changes.next_incident);
    transaction.execute("INSERT OR REPLACE INTO numbers (name, value) VALUES (?1, ?2)", params![NEXT_INCIDENT, next])?;
    event_table::append(&transaction, &changes.events)?;
    ledger::save(&transaction, &changes.dispatch)?;
    audit_chain::append(&transaction, &changes.audit)?;
    for (seq, row) in &changes.notifications {
        outbox::insert(&transaction, *seq, row, changes.now_ms)?;
    }
    transaction.commit()
}

fn parse(text: &str) -> Option<Alert> {
    serde_json::from_str(text).inspect_err(|err| warn!(error = %err, "an alert in the state store cannot be read, leaving it out")).ok()
}
