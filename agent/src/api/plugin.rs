//! Plugins, and the generation that serves under the id of each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;

/// A plugin and the generation that serves under its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PluginItem {
    /// Name of its file without `.wasm`.
    #[schemars(example = "postgres-essentials")]
    pub id: String,
    /// The world that it implements, such as `alert-rule-plugin`. `world`, `version` and `source` are null while no generation serves.
    pub world: Option<String>,
    pub version: Option<String>,
    pub source: Option<PluginSource>,
    /// Whether the plugin is turned on in the config.
    pub enabled: bool,
    pub state: PluginState,
    /// Number of versions that were loaded since the agent started. Refused files do not count.
    pub generation: u64,
    /// SHA-256 of the component that serves, in hex digits.
    pub digest: Option<String>,
    /// The last failure of this generation or of a refused file.
    pub last_error: Option<PluginError>,
    /// Calls of all generations since the agent started. `traps`, `cpu_seconds` and `memory_bytes_max` also cover that time.
    pub calls: u64,
    /// Calls that ended in a trap.
    pub traps: u64,
    pub cpu_seconds: f64,
    /// The most memory that one call used.
    pub memory_bytes_max: u64,
    /// Capabilities that the plugin requests.
    pub wants: Vec<String>,
    /// Rules that can never work, because they need facts that no collector reads.
    pub warnings: Vec<String>,
    /// Settings that the plugin ignores, and receivers whose settings it refuses.
    pub ignored_settings: Vec<String>,
    /// Grants of the config, such as `egress hooks.example.com`.
    pub granted: Vec<String>,
}

/// Where a plugin came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PluginSource {
    /// The agent's own binary.
    Embedded,
    /// A file of the plugins folder.
    File,
}

/// State of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PluginState {
    Serving,
    /// A generation serves, but its calls fail repeatedly without a trap or a broken budget.
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
pub(crate) struct PluginError {
    pub at: Timestamp,
    /// The step that failed, such as `validate`, `compile` or `call`.
    #[schemars(example = &"compile")]
    pub stage: String,
    pub message: String,
    /// Text that the plugin wrote to standard error before it was stopped: a panic, a traceback.
    pub last_words: Option<String>,
}
