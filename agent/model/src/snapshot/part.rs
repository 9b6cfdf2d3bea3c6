//! The parts of a snapshot. Each comes from one collector and fails alone.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::failure_reason::FailureReason;
use super::family::Family;
use super::table::Table;
use super::unlisted::Unlisted;

/// Result of one run of one collector.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Time of the reading on the agent's monotonic clock.
    pub at: Duration,
    /// Monotonic time after which the reading is stale: its collector should have run again by then.
    pub fresh_until: Duration,
    /// Number that changes when the server restarts or all its statistics are reset. Rates never span two epochs.
    pub epoch: u64,
    /// Series of the reading.
    pub families: Vec<Family>,
    /// Tables of the reading.
    pub tables: Vec<Table>,
    /// Things that exist but have no series of their own.
    #[serde(default, skip_serializing_if = "Unlisted::is_none")]
    pub unlisted: Unlisted,
}

/// State of a part, which decides whether it can be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "why")]
pub enum PartState {
    /// The part is fresh and can be judged.
    Present,
    /// The part could not be read. The text is the reason.
    Failed(String),
    /// The server cannot provide the part. The text is the reason.
    Unsupported(String),
    /// The part is too old. The value is the time since the last good reading.
    Stale(Duration),
}

/// Part of a snapshot, read by one collector. `reading` is set exactly while the part is present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// State of the part, with the reason if it cannot be judged.
    pub state: PartState,
    /// Latest reading; `None` unless the part is present.
    #[serde(with = "shared")]
    pub reading: Option<Arc<Reading>>,
    /// Monotonic time of the last good reading, even if later runs failed; `None` before the first.
    pub last_read: Option<Duration>,
    /// Statement or command that brings a missing part back; `None` if the agent has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// Why the part is missing, from a closed set: the label `reason` of `pharos_collect_failures_total`.
    #[serde(default, deserialize_with = "known_reason", skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
}

/// Reads the reason of a recorded part; `None` for a reason that only a newer agent writes.
fn known_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<FailureReason>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| FailureReason::named(&text)))
}

/// Readings are shared in memory, but written out in a recorded snapshot.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Reading;

    /// Writes the reading itself.
    pub(super) fn serialize<S: Serializer>(reading: &Option<Arc<Reading>>, serializer: S) -> Result<S::Ok, S::Error> {
        reading.as_deref().serialize(serializer)
    }

    /// Reads the reading.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Reading>>, D::Error> {
        Ok(Option::<Reading>::deserialize(deserializer)?.map(Arc::new))
    }
}

impl Part {
    /// Creates a part that was read.
    pub fn present(reading: Arc<Reading>) -> Self {
        Self { state: PartState::Present, last_read: Some(reading.at), reading: Some(reading), cure: None, reason: None }
    }

    /// Creates a part that could not be read, for this reason.
    pub fn failed(why: impl Into<String>) -> Self {
        Self { state: PartState::Failed(why.into()), reading: None, last_read: None, cure: None, reason: None }
    }

    /// Creates a part that the server cannot provide, for this reason.
    pub fn unsupported(why: impl Into<String>) -> Self {
        Self { state: PartState::Unsupported(why.into()), reading: None, last_read: None, cure: None, reason: None }
    }

    /// Adds the statement or command that brings the part back.
    pub fn cured_by(self, cure: Option<&str>) -> Self {
        Self { cure: cure.map(ToOwned::to_owned), ..self }
    }

    /// Adds the reason from the closed set.
    pub fn for_reason(self, reason: FailureReason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Takes the time of the last good reading from the part before. A part that fails now may have been read then.
    pub fn after(mut self, earlier: Option<&Self>) -> Self {
        self.last_read = self.last_read.or(earlier.and_then(|earlier| earlier.last_read));
        self
    }
}
