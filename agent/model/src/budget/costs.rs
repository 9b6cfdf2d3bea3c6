//! The costs of monitoring one server, and their limit.

use std::collections::BTreeMap;

use serde::Serialize;

/// Costs of monitoring one server, as shares of one core at the present intervals.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ServerCosts {
    /// Share of one core that monitoring takes.
    pub ratio: f64,
    /// Limit of that share.
    pub budget_ratio: f64,
    /// Costs by the name in the statements: a collector, or the part that opens sessions.
    pub collectors: BTreeMap<String, CollectorCosts>,
}

/// Costs of one collector since the agent's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CollectorCosts {
    /// Seconds of the server's work: each round trip without the shortest one.
    pub seconds: f64,
    /// Number of statements.
    pub statements: f64,
    /// Number of rows that the server returned.
    pub rows: f64,
    /// Present interval in seconds.
    pub interval_seconds: f64,
    /// True if the budget made the interval longer than the configured one.
    pub slowed: bool,
    /// Execution time from `pg_stat_statements`; `None` if it is not installed, or was not read yet.
    pub execution_seconds: Option<f64>,
    /// Blocks found in the cache or read, from `pg_stat_statements`; `None` if it is not installed, or was not read yet.
    pub blocks: Option<f64>,
    /// Bytes of temporary blocks written, from `pg_stat_statements`; `None` if it is not installed, or was not read yet.
    pub temp_bytes: Option<f64>,
}
