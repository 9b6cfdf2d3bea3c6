//! An alert that stands still, because nobody can say whether it is still true.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::now::Now;
use crate::finding::SkipReason;

/// Why an alert stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freeze {
    /// The rule could not look.
    Skipped(SkipReason),
    /// The rule says nothing of it, but what it is about cannot be seen.
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

/// That an alert stands still, and for how long: from the first evaluation that could not judge it to the next that can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The latest reason.
    pub why: Freeze,
    /// Wall clock.
    pub since_ms: u64,
    /// Evaluations in a row that could not judge it, as far as this process saw them.
    pub evaluations: u32,
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl Frozen {
    /// Goes on with `earlier`, if there is one.
    pub(super) fn after(earlier: Option<Self>, why: Freeze, now: Now) -> Self {
        match earlier {
            Some(earlier) => Self { why, ..earlier },
            None => Self { why, since_ms: now.wall_ms, evaluations: 0 },
        }
    }
}

/// An older version stored the reason alone. It is left out: what is restored is frozen anyway.
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
