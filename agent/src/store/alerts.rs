//! Alerts that are open or whose history still counts, and what happened to them, in one durable transaction.

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

/// What one evaluation changed.
#[derive(Debug, Default)]
pub struct AlertChanges {
    /// Fingerprint and the alert's JSON.
    pub upserts: Vec<(String, String)>,
    pub removed: Vec<String>,
    pub next_incident: u64,
    pub events: Vec<Event>,
    pub audit: Vec<AuditEntry>,
    /// What receivers know and have to hear.
    pub dispatch: dispatch::Changes,
    /// Who is told of it, each with its number.
    pub told: Vec<(u64, NewRow)>,
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
    /// Writes alerts, the events and audit rows that tell of their transitions and the notifications of them: all or nothing. While the
    /// file cannot take them they are kept in memory and written later.
    pub async fn save_alerts(&self, changes: AlertChanges) -> Result<(), StoreError> {
        self.write_essential(move |connection| save(connection, &changes)).await
    }

    /// The same for what a person said, who waits for the answer: it is in the file, or it did not happen.
    pub async fn save_words(&self, changes: AlertChanges) -> Result<(), StoreError> {
        self.write_durable(move |connection| save(connection, &changes)).await
    }

    /// What the agent before this one knew. A record that this version cannot read is left out and said so.
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
    for (seq, row) in &changes.told {
        outbox::insert(&transaction, *seq, row, changes.now_ms)?;
    }
    transaction.commit()
}

fn parse(text: &str) -> Option<Alert> {
    serde_json::from_str(text).inspect_err(|err| warn!(error = %err, "an alert in the state store cannot be read, leaving it out")).ok()
}
