//! The parts of a snapshot: each is one collector's share, and fails alone.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::family::Family;
use super::table::Table;
use super::unlisted::Unlisted;

/// What one run of one collector read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When it was read, on the agent's monotonic clock.
    pub at: Duration,
    /// From then on it is stale: its collector should have run again by then.
    pub fresh_until: Duration,
    /// Changes when the server restarts or its statistics are reset as a whole; rates never span two epochs.
    pub epoch: u64,
    pub families: Vec<Family>,
    pub tables: Vec<Table>,
    /// What is there and has no series of its own.
    #[serde(default, skip_serializing_if = "Unlisted::is_none")]
    pub unlisted: Unlisted,
}

/// Whether a part can be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "why")]
pub enum PartState {
    Present,
    Failed(String),
    Unsupported(String),
    /// Time since the last good read.
    Stale(Duration),
}

/// One collector's share of a snapshot. `reading` is there exactly while the part is present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub state: PartState,
    #[serde(with = "shared")]
    pub reading: Option<Arc<Reading>>,
    /// When it was last read, on the agent's monotonic clock, whatever happened since.
    pub last_read: Option<Duration>,
    /// The statement or command that brings a missing part back, where the agent knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// Why a missing part is missing, one of a closed set: the `reason` of `pharos_collect_failures_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A recorded snapshot spells out what a live one shares.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Reading;

    pub fn serialize<S: Serializer>(reading: &Option<Arc<Reading>>, serializer: S) -> Result<S::Ok, S::Error> {
        reading.as_deref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Reading>>, D::Error> {
        Ok(Option::<Reading>::deserialize(deserializer)?.map(Arc::new))
    }
}

impl Part {
    pub fn present(reading: Arc<Reading>) -> Self {
        Self { state: PartState::Present, last_read: Some(reading.at), reading: Some(reading), cure: None, reason: None }
    }

    pub fn failed(why: impl Into<String>) -> Self {
        Self { state: PartState::Failed(why.into()), reading: None, last_read: None, cure: None, reason: None }
    }

    pub fn unsupported(why: impl Into<String>) -> Self {
        Self { state: PartState::Unsupported(why.into()), reading: None, last_read: None, cure: None, reason: None }
    }

    pub fn cured_by(self, cure: Option<&str>) -> Self {
        Self { cure: cure.map(ToOwned::to_owned), ..self }
    }

    pub fn for_reason(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }

    /// The part as it follows another one: what fails now may have been read before.
    pub fn after(mut self, earlier: Option<&Self>) -> Self {
        self.last_read = self.last_read.or(earlier.and_then(|earlier| earlier.last_read));
        self
    }
}
