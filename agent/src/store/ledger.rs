//! The tables of the dispatcher: the ledger of each receiver, silences and acknowledgements.

use std::fmt::Display;

use pharos_model::dispatch::{Changes, IncidentKey, SavedDispatch};
use rusqlite::{Connection, Row, Transaction, params};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::columns::{json, number, signed};
use super::error::StoreError;
use super::handle::Store;

impl Store {
    /// Restores the decisions of the previous agent. A record that this version cannot read is left out and logged.
    pub async fn dispatch(&self) -> Result<SavedDispatch, StoreError> {
        self.read_essential(|connection| {
            let acknowledgement = |row: &Row<'_>| -> rusqlite::Result<_> {
                let (fingerprint, incident): (String, u64) = (row.get("fingerprint")?, number(row, "incident")?);
                Ok(parsed("an acknowledgement", &row.get::<_, String>("acknowledgement")?)
                    .and_then(|acknowledgement| Some((IncidentKey { fingerprint: fingerprint.parse().ok()?, incident }, acknowledgement))))
            };
            Ok(SavedDispatch {
                entries: all(connection, "SELECT entry FROM ledger", |row| Ok(parsed("a ledger entry", &row.get::<_, String>("entry")?)))?,
                silences: all(connection, "SELECT silence FROM silences", |row| {
                    Ok(parsed("a silence", &row.get::<_, String>("silence")?))
                })?,
                acknowledgements: all(connection, "SELECT fingerprint, incident, acknowledgement FROM acknowledgements", acknowledgement)?,
            })
        })
        .await
    }
}

/// Writes changes of the dispatcher, in the transaction of the alert or the request that made them.
pub(super) fn save(transaction: &Transaction<'_>, changes: &Changes) -> rusqlite::Result<()> {
    let mut upsert =
        transaction.prepare_cached("INSERT OR REPLACE INTO ledger (receiver, fingerprint, incident, entry) VALUES (?1, ?2, ?3, ?4)")?;
    for entry in &changes.entries {
        upsert.execute(params![entry.receiver, entry.fingerprint.to_string(), signed(entry.incident), json(entry)?])?;
    }
    let mut remove = transaction.prepare_cached("DELETE FROM ledger WHERE receiver = ?1 AND fingerprint = ?2 AND incident = ?3")?;
    for (receiver, IncidentKey { fingerprint, incident }) in &changes.removed {
        remove.execute(params![receiver, fingerprint.to_string(), signed(*incident)])?;
    }
    let mut upsert = transaction.prepare_cached("INSERT OR REPLACE INTO silences (id, silence) VALUES (?1, ?2)")?;
    for silence in &changes.silences {
        upsert.execute(params![silence.id, json(silence)?])?;
    }
    let mut remove = transaction.prepare_cached("DELETE FROM silences WHERE id = ?1")?;
    for id in &changes.removed_silences {
        remove.execute(params![id])?;
    }
    let mut upsert = transaction
        .prepare_cached("INSERT OR REPLACE INTO acknowledgements (fingerprint, incident, acknowledgement) VALUES (?1, ?2, ?3)")?;
    for (IncidentKey { fingerprint, incident }, acknowledgement) in &changes.acknowledgements {
        upsert.execute(params![fingerprint.to_string(), signed(*incident), json(acknowledgement)?])?;
    }
    let mut remove = transaction.prepare_cached("DELETE FROM acknowledgements WHERE fingerprint = ?1 AND incident = ?2")?;
    for IncidentKey { fingerprint, incident } in &changes.removed_acknowledgements {
        remove.execute(params![fingerprint.to_string(), signed(*incident)])?;
    }
    Ok(())
}

fn all<T>(connection: &Connection, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<T>>) -> rusqlite::Result<Vec<T>> {
    let mut query = connection.prepare(sql)?;
    let rows = query.query_map([], read)?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn parsed<T: DeserializeOwned>(what: impl Display, text: &str) -> Option<T> {
    serde_json::from_str(text).inspect_err(|err| warn!(error = %err, "{what} in the state store cannot be read, leaving it out")).ok()
}
