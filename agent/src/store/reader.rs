//! Access to the store for the command line, whether its agent runs or not.

use std::path::Path;

use pharos_model::event::Event;
use pharos_model::outbox::OutboxState;
use rusqlite::Connection;

use super::audit_chain::{self, AuditRow, AuditVerdict};
use super::directory::DATABASE_FILE;
use super::error::StoreError;
use super::file::open_to_read;
use super::outbox::OutboxRow;
use super::{event_table, outbox};

/// A store that is read without its lock and never written.
#[derive(Debug)]
pub struct StoreReader {
    connection: Connection,
}

impl StoreReader {
    /// Opens the store in an agent's data directory.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(DATABASE_FILE);
        if !path.exists() {
            return Err(StoreError::Missing { path: directory.to_owned() });
        }
        Ok(Self { connection: open_to_read(&path)? })
    }

    /// The newest rows of the audit log, newest first. With `before`, only rows before that number.
    pub fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.read(|connection| audit_chain::list(connection, before, limit))
    }

    /// Verifies the whole chain of the audit log.
    pub fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        self.read(audit_chain::verify)
    }

    /// The newest notifications, newest first. With `receiver` or `state`, only those of that receiver or in that state.
    pub fn outbox(&self, receiver: Option<&str>, state: Option<OutboxState>, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        self.read(|connection| outbox::youngest(connection, receiver, state, None, limit))
    }

    /// The events of an alert, newest first.
    pub fn alert_history(&self, fingerprint: &str, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read(|connection| event_table::alert_history(connection, fingerprint, limit))
    }

    /// Fingerprints that begin with `begins`, of alerts whose history is stored. Returns `limit` of them at most.
    pub fn fingerprints(&self, begins: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        self.read(|connection| event_table::fingerprints(connection, begins, limit))
    }

    /// Reads in one transaction, so that writes of an agent in between are invisible.
    fn read<T>(&self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let query = |source| StoreError::Query { source };
        let transaction = self.connection.unchecked_transaction().map_err(query)?;
        work(&transaction).map_err(query)
    }
}
