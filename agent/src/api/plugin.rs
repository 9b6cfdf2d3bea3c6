//! Plugins, and what serves under the id of each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;

/// A plugin and the generation that serves under its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PluginItem {
    /// The stem of its file.
    #[schemars(example = "postgres-essentials")]
    pub id: String,
    /// The world that it implements, such as `alert-rule-plugin`. Null while no generation serves, as for the next two.
    pub world: Option<String>,
    pub version: Option<String>,
    pub source: Option<PluginSource>,
    /// Whether the config lets it serve.
    pub enabled: bool,
    pub state: PluginState,
    /// Counts the versions that were loaded since the agent started. A refused file does not change it.
    pub generation: u64,
    /// SHA-256 of the component that serves, in hex digits.
    pub digest: Option<String>,
    /// Last failure of this generation, or of a file that was refused.
    pub last_error: Option<PluginError>,
    /// Calls of all generations since the agent started, like the three below.
    pub calls: u64,
    /// Calls that ended in a trap.
    pub traps: u64,
    pub cpu_seconds: f64,
    /// The most memory that one call took.
    pub memory_bytes_max: u64,
    /// Capabilities that it asks for.
    pub wants: Vec<String>,
    /// Rules that can never work, because they need facts that no collector reads.
    pub warnings: Vec<String>,
    /// Settings that it leaves out, and receivers whose settings it refuses.
    pub ignored_settings: Vec<String>,
    /// Grants of the config, such as `egress hooks.example.com`.
    pub granted: Vec<String>,
}

/// Where a plugin came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginSource {
    /// The agent's own binary.
    Embedded,
    /// A file of the plugins folder.
    File,
}

/// How a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    Serving,
    /// A generation serves, and its calls fail again and again without an offence.
    Failing,
    /// Its file is being compiled, tried or checked.
    Loading,
    /// Its calls trapped or broke their budget; it is tried again after a pause.
    Quarantined,
    /// No version of it could be loaded.
    Failed,
    /// The config turned it off.
    Disabled,
}

/// A failure of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginError {
    pub at: Timestamp,
    /// Where: `validate`, `compile`, ..., `call`.
    #[schemars(example = &"compile")]
    pub stage: String,
    pub message: String,
    /// Text that the plugin wrote to standard error before it was stopped: a panic, a traceback.
    pub last_words: Option<String>,
}
