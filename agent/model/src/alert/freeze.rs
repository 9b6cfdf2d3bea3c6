//! Frozen alerts: alerts that stay as they are because no rule can judge them at the moment.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::now::Now;
use crate::finding::SkipReason;

/// Why an alert is frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freeze {
    /// The plugin skipped the rule, because the rule could not read its facts.
    Skipped(SkipReason),
    /// The rule reported nothing, but the series of the alert is missing or could not be read.
    NoData(String),
    /// The call of the plugin failed.
    Failed(String),
    /// The plugin is not serving.
    Plugin(String),
    /// Restored from the store and not judged since.
    Restored,
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
            Self::NoData(why) => write!(f, "no data: {why}"),
            Self::Failed(why) => write!(f, "the plugin failed: {why}"),
            Self::Plugin(why) => write!(f, "the plugin is not serving: {why}"),
            Self::Restored => f.write_str("not judged since the agent started"),
        }
    }
}

/// Why and since when an alert is frozen. It is frozen from the first evaluation that could not judge it to the next that can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The latest reason.
    pub why: Freeze,
    /// When the alert froze: milliseconds since 1970.
    pub since_ms: u64,
    /// Number of evaluations of this process in a row that could not judge the alert.
    pub evaluations: u32,
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl Frozen {
    /// Keeps the start and the count of `earlier`, if the alert was frozen before.
    pub(super) fn after(earlier: Option<Self>, why: Freeze, now: Now) -> Self {
        match earlier {
            Some(earlier) => Self { why, ..earlier },
            None => Self { why, since_ms: now.wall_ms, evaluations: 0 },
        }
    }
}

/// Reads a stored freeze. An older version stored the reason alone, which is ignored: a restored alert is frozen anyway.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Frozen>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Whole(Frozen),
        Older(IgnoredAny),
    }
    Ok(match Option::deserialize(deserializer)? {
        Some(Stored::Whole(frozen)) => Some(frozen),
        Some(Stored::Older(_)) | None => None,
    })
}
