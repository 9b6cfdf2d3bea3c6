//! Statements that are slow.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Statements on a page if the request names no limit: as many as people read at once.
pub(crate) const SLOW_QUERIES_LIMIT_DEFAULT: u32 = 50;
/// A page has at most this many statements. More would make one answer hold up others.
pub(crate) const SLOW_QUERIES_LIMIT_MAX: u32 = 200;

/// Which statements are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlowQueriesQuery {
    /// Name of a `[[database]]` of the config file. All of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Statements on one page; 50 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = SLOW_QUERIES_LIMIT_MAX))]
    pub limit: Option<i64>,
    /// Mean execution time from which a statement is slow, such as `250ms`. The database's own threshold if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "250ms")]
    pub threshold: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Slow statements, those with the longest total time first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SlowQueryList {
    pub items: Vec<SlowQuery>,
    /// How `p95_estimate_seconds` is computed.
    pub p95_method: String,
    /// Where the next page begins: send it as `cursor`. Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A statement, between the latest two readings of `pg_stat_statements`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SlowQuery {
    pub database: String,
    pub server: String,
    /// Identity of the statement on this server.
    pub fingerprint: Option<String>,
    pub datname: Option<String>,
    pub user: Option<String>,
    /// False for a statement inside a function.
    pub toplevel: bool,
    /// Executions in the interval.
    pub calls: Option<f64>,
    /// Execution time in the interval, all calls together.
    pub time_seconds: Option<f64>,
    /// Mean execution time of one call in the interval.
    pub mean_seconds: Option<f64>,
    /// Estimated time within which 95 of 100 calls ended.
    pub p95_estimate_seconds: Option<f64>,
    /// Rows that were returned or changed in the interval.
    pub rows: Option<f64>,
    /// Normalised text. Null until it was read, which takes a while since texts are read rarely.
    pub query: Option<String>,
}
