//! Parts of the agent: their states, and the cost of monitoring for each server.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;

/// The agent's process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Alive {
    /// Always `alive`.
    pub status: String,
}

/// Whether the agent does its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Readiness {
    /// Whether every part was tried once and no part failed. A server that is down is degraded, and the agent stays ready.
    pub ready: bool,
    /// Names of parts that are still starting.
    pub waiting_for: Vec<String>,
    /// Names of parts that do not work.
    pub failed: Vec<String>,
    /// Every part, by name.
    pub items: Vec<PartItem>,
}

/// A part of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PartItem {
    /// Name of the part, such as `store`, `postgres db1:5432` or `receiver ops`.
    #[schemars(example = "postgres db1:5432")]
    pub name: String,
    pub state: PartStateName,
    /// Since when the part is in this state.
    pub since: Timestamp,
    /// Why the part is not `ok`.
    pub cause: Option<String>,
}

/// State of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PartStateName {
    Starting,
    Ok,
    /// The part works, but not completely. The reason may be the server or receiver that it serves.
    Degraded,
    /// The part itself does not work.
    Failed,
    Stopping,
}

/// A part of the agent. A PostgreSQL server also has the costs of monitoring it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ServiceItem {
    #[serde(flatten)]
    pub part: PartItem,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<ServerCost>,
}

/// Costs of the agent's own statements at a server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ServerCost {
    /// Share of one CPU core that the server spends on the agent's statements, at the intervals in force.
    pub ratio: f64,
    /// Largest allowed share. Above it, intervals become longer.
    pub budget_ratio: f64,
    /// Costs by the name of the collector.
    pub collectors: BTreeMap<String, CollectorCost>,
}

/// Costs of a collector at a server, since the agent started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CollectorCost {
    /// Time that the server worked: each round trip minus the shortest one.
    pub seconds: f64,
    /// Statements that were sent.
    pub statements: f64,
    /// Rows that came back.
    pub rows: f64,
    /// The interval in force.
    pub interval_seconds: f64,
    /// Whether the budget made the interval longer than the configured one.
    pub slowed: bool,
    /// Execution time as `pg_stat_statements` counts it. Null if the extension is missing or was not read yet.
    pub execution_seconds: Option<f64>,
    /// Blocks that were read or found in shared buffers, as `pg_stat_statements` counts them.
    pub blocks: Option<f64>,
    /// Bytes of temporary files, as `pg_stat_statements` counts them.
    pub temp_bytes: Option<f64>,
}
