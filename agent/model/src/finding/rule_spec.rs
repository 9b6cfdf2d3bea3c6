//! Declaration of a rule: the facts that a plugin states once, before it judges.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::subject::SubjectKind;

/// Rule of a plugin. Mirrors the WIT record `rule`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSpec {
    /// Id of the rule, unique within its plugin.
    pub id: String,
    /// Description of the rule in one line.
    pub summary: String,
    /// Group of the rule in the health score: `connections`, `locks`, `storage`.
    pub category: String,
    /// Kind of subject that the rule judges.
    pub subject_kind: SubjectKind,
    /// Names of the metrics and tables that the rule reads.
    pub needs: Vec<String>,
    /// How long a finding must be raised before its alert fires.
    #[serde(rename = "for_ms", with = "milliseconds")]
    pub for_: Duration,
    /// How long a finding must be clear before its alert resolves.
    #[serde(rename = "keep_firing_ms", with = "milliseconds")]
    pub keep_firing: Duration,
    /// Address of a document for people; `None` without one.
    pub runbook: Option<String>,
}

/// Durations as whole milliseconds, like in the WIT contract.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes a duration as whole milliseconds.
    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(crate::duration::milliseconds(*duration))
    }

    /// Reads a duration from whole milliseconds.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
