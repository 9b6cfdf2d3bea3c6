//! Sessions that wait for locks, as trees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;

/// Waits on one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ServerLocks {
    pub database: String,
    pub server: String,
    pub taken_at: Timestamp,
    /// Why the waits are not known. Null if `roots` is given.
    pub why: Option<String>,
    /// Sessions at the root of a tree, those with most waiters first. Empty: no session waits. Null: the waits are not known.
    pub roots: Option<Vec<LockRoot>>,
}

/// A session that waits for no other session, and all sessions that wait for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LockRoot {
    /// Null for prepared transactions.
    pub pid: Option<i64>,
    /// Mode of the lock that others wait for.
    pub mode: Option<String>,
    /// State of the session, such as `idle in transaction`.
    pub state: Option<String>,
    pub user: Option<String>,
    pub application: Option<String>,
    /// Age of its transaction.
    pub transaction_seconds: Option<f64>,
    /// Sessions that wait, those nearest to the root first.
    pub waiters: Vec<LockWaiter>,
}

/// A session that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LockWaiter {
    pub pid: Option<i64>,
    /// Process for which the session waits. Null if it waits for a prepared transaction.
    pub blocked_by: Option<i64>,
    /// Number of sessions on the longest path to the root.
    pub depth: Option<i64>,
    pub wait_seconds: Option<f64>,
    /// Type of the lock, such as `relation` or `transactionid`.
    pub lock_type: Option<String>,
    /// Mode of the lock that the session requests.
    pub mode: Option<String>,
    pub relation: Option<String>,
    pub datname: Option<String>,
    pub user: Option<String>,
    pub application: Option<String>,
    /// Names of the prepared transactions that the session waits for.
    pub prepared: Option<String>,
    /// The remedy that would end the wait, as one word.
    pub remedy: Option<String>,
    /// Statements that a person could run to end the wait. The agent never runs any of them.
    pub remedy_text: Option<String>,
}
