//! Sessions that wait for locks, as trees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;

/// Waits on one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerLocks {
    pub database: String,
    pub server: String,
    pub taken_at: Timestamp,
    /// Why nothing is known. Null where `roots` is given.
    pub why: Option<String>,
    /// Sessions at the root of a tree, those with most waiters first. Empty: no session waits. Null: nothing is known.
    pub roots: Option<Vec<LockRoot>>,
}

/// A session that waits for no other one, and every session behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockRoot {
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
    /// Nearest to the root first.
    pub waiters: Vec<LockWaiter>,
}

/// A session that waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockWaiter {
    pub pid: Option<i64>,
    /// Process for which it waits. Null where it waits for a prepared transaction.
    pub blocked_by: Option<i64>,
    /// Sessions on the longest way to the root.
    pub depth: Option<i64>,
    pub wait_seconds: Option<f64>,
    /// Such as `relation` or `transactionid`.
    pub lock_type: Option<String>,
    /// Mode of the lock that it asks for.
    pub mode: Option<String>,
    pub relation: Option<String>,
    pub datname: Option<String>,
    pub user: Option<String>,
    pub application: Option<String>,
    /// Names of the prepared transactions that it waits for.
    pub prepared: Option<String>,
    /// The remedy that would free it, as one word.
    pub remedy: Option<String>,
    /// Statements that a person could run to free it. The agent never runs any of them.
    pub remedy_text: Option<String>,
}
