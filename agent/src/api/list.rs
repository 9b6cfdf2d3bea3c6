//! The common types of lists: their shape, their times, and the database that a request can name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A list in the order that its route documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub(crate) struct List<T> {
    pub items: Vec<T>,
    /// Where the next page begins: send it as `cursor`. Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An instant in RFC 3339, in UTC and to the millisecond: `2026-11-30T08:15:00.000Z`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, extend("format" = "date-time"))]
pub(crate) struct Timestamp(pub String);

/// The database that a request selects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseQuery {
    /// Name of a `[[database]]` or `[[redis]]` of the config file. All of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
}
