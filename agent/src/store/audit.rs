//! The audit log as other parts use it. Its chain of hashes is in `audit_chain`.

use pharos_model::audit::AuditEntry;

use super::audit_chain::{AuditRow, AuditVerdict, append, list, verify};
use super::error::StoreError;
use super::handle::Store;

impl Store {
    /// Appends an entry that belongs to no change of alerts. Once this returns, the file has it.
    pub async fn record_audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.write_durable(move |connection| {
            let transaction = connection.transaction()?;
            append(&transaction, std::slice::from_ref(&entry))?;
            transaction.commit()
        })
        .await
    }

    /// The newest rows, newest first. With `before`, only rows before that number.
    pub async fn audit(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.read_for_caller(move |connection| list(connection, before, limit)).await
    }

    /// Verifies the whole chain.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, StoreError> {
        self.read_for_caller(|connection| verify(connection)).await
    }
}
