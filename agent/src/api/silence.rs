//! Silences: alerts that match one are sent to no receiver between two instants.

use pharos_model::dispatch::SilenceState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;
use super::names;

/// A new silence. Exactly one of `ends_at` and `duration` must be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSilence {
    /// Matchers such as `rule="lag"`, `server!="db1:5432"` or `database=~"app.*"`; all must hold. At most 50.
    #[schemars(example = ["rule=\"replication-lag\"", "database=~\"app.*\""])]
    pub matchers: Vec<String>,
    /// Start in RFC 3339. Now if absent.
    pub starts_at: Option<String>,
    /// End in RFC 3339, at most a year after the start.
    pub ends_at: Option<String>,
    /// Time from the start to the end, such as `2h` or `30m`.
    #[schemars(example = "2h")]
    pub duration: Option<String>,
    /// Author of the silence, at most 100 characters. The name of the token if absent.
    pub author: Option<String>,
    /// Reason of the silence, at most 2,000 bytes.
    #[schemars(example = "the replica is being rebuilt")]
    pub comment: String,
}

/// A silence with its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SilenceItem {
    pub id: String,
    #[schemars(schema_with = "names::silence_state")]
    pub state: SilenceState,
    /// Matchers; all must hold.
    pub matchers: Vec<String>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub author: String,
    pub comment: String,
    pub created_at: Timestamp,
    /// Why the silence hides nothing although it is active.
    pub problem: Option<String>,
    pub source: SilenceSource,
}

/// Source of a silence. A silence of the config file can only be changed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SilenceSource {
    Config,
    Api,
}

/// A silence that was just added, with its effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AddedSilence {
    #[serde(flatten)]
    pub silence: SilenceItem,
    /// Number of open alerts that it hides. Zero may mean that a matcher is misspelt.
    pub open_alerts_that_match: u64,
    /// Labels in its matchers that no alert of a shipped plugin has.
    pub notes: Vec<String>,
}
