//! The audit log: actions and their actors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::list::Timestamp;

/// Rows on a page if the request names no limit: as many as people read at once.
pub(crate) const AUDIT_LIMIT_DEFAULT: u32 = 100;
/// A page has at most this many rows. More would make one answer hold up others.
pub(crate) const AUDIT_LIMIT_MAX: u32 = 1_000;

/// Which rows are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    /// Only rows before the one with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Rows on one page; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = AUDIT_LIMIT_MAX))]
    pub limit: Option<i64>,
    /// `next_cursor` of the page before. Not together with `before`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AuditItem {
    /// Number of the row, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    /// `agent`, or the name of the token.
    pub actor: String,
    /// The action, such as `silence.add`.
    #[schemars(example = "silence.add")]
    pub action: String,
    /// Object of the action, such as the fingerprint of an alert.
    pub subject: String,
    /// The particulars, whose shape depends on the action.
    pub detail: Value,
    /// SHA-256 of the row and of the hash before it, in hex digits. `pharos audit verify` checks the chain.
    pub hash: String,
}
