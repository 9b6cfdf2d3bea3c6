//! The time limits of a monitoring session.

use std::time::Duration;

use crate::config::collect::CollectConfig;

/// Bounds of every wait in a monitoring session, on the server's side and on the agent's.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Longest wait for a lock on the server.
    pub lock_timeout: Duration,
    /// Longest run of a statement on the server.
    pub statement_timeout: Duration,
    /// Longest run of a collector, all its statements together.
    pub deadline: Duration,
    /// Longest time to open a session, TLS and authentication included.
    pub connect_timeout: Duration,
}

impl From<&CollectConfig> for SessionLimits {
    fn from(collect: &CollectConfig) -> Self {
        Self {
            lock_timeout: collect.lock_timeout,
            statement_timeout: collect.statement_timeout,
            deadline: collect.deadline,
            connect_timeout: collect.connect_timeout,
        }
    }
}
