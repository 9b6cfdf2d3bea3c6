//! Errors of the store.

use std::path::PathBuf;
use std::time::Duration;

use super::ownership::OwnerError;

/// The longest wait for an answer of the store. Work that takes longer goes on; only its answer is lost.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("preparing the data directory {}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error("another agent{} uses the data directory {}; give each agent its own agent.data_dir", holder(pid), path.display())]
    Locked { path: PathBuf, pid: Option<u32> },
    #[error("opening the state store {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the state store {} was written by a newer Pharos (schema {found}, this one knows {known}); start that version or move the file away", path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("there is no state store in {}; name the agent's agent.data_dir", path.display())]
    Missing { path: PathBuf },
    #[error("the state store did not answer within {ANSWER_MAX:?}")]
    DeadlineExceeded,
    #[error("the state store has ended")]
    Closed,
    #[error("not stored: {cause}")]
    Degraded { cause: String },
    #[error("using the state store")]
    Query { source: rusqlite::Error },
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
