//! The latest facts of each server.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;

/// The latest snapshot of one server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ServerFacts {
    /// Labels of the server: `database`, the name of its entry in the config, and `server`, its `host:port`.
    #[serde(flatten)]
    pub labels: ServerLabels,
    /// `postgres` or `redis`. Later versions may have more.
    pub kind: String,
    /// Version as the server reports it. Empty before the first connection.
    pub version: String,
    pub taken_at: Timestamp,
    /// Whether the server answered.
    pub up: bool,
    /// State of each family of facts, by collector.
    pub parts: BTreeMap<String, FactsState>,
    /// Series by the name of their metric; names, units and help texts are those of `/metrics`.
    pub metrics: BTreeMap<String, Vec<SeriesItem>>,
}

/// Labels that identify a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ServerLabels {
    /// Name of the `[[database]]` or `[[redis]]`.
    #[schemars(example = &"app")]
    pub database: String,
    /// `host:port`, or the socket's folder and port.
    #[schemars(example = "db1:5432")]
    pub server: String,
}

/// State of one family of facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum FactsState {
    Present,
    /// Reading the facts failed.
    Failed {
        why: String,
    },
    /// The server does not offer the facts, or the agent's role may not read them.
    Unsupported {
        why: String,
    },
    /// The facts were read, but too long ago to be shown.
    Stale {
        age_seconds: f64,
    },
}

/// A series of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SeriesItem {
    /// Labels besides those of the server.
    pub labels: BTreeMap<String, Option<String>>,
    /// Null if JSON has no such number, as for an infinity.
    pub value: Option<f64>,
}
