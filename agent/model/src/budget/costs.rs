//! The account of one server: what monitoring costs it, and what it may.

use std::collections::BTreeMap;

use serde::Serialize;

/// What monitoring costs one server, as shares of one core at the intervals in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ServerCosts {
    pub ratio: f64,
    pub budget_ratio: f64,
    /// By the name that statements carry: a collector, or what opens sessions.
    pub collectors: BTreeMap<String, CollectorCosts>,
}

/// What one collector cost since the agent started.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CollectorCosts {
    /// Time that the server worked: round trips less the shortest one.
    pub seconds: f64,
    pub statements: f64,
    pub rows: f64,
    /// The interval in force.
    pub interval_seconds: f64,
    /// Whether the budget made the interval longer than the configured one.
    pub slowed: bool,
    /// As pg_stat_statements counts it; none where it is not installed, or was not read yet.
    pub execution_seconds: Option<f64>,
    pub blocks: Option<f64>,
    pub temp_bytes: Option<f64>,
}
