//! The state of plugins, for the snapshot of the agent.

use std::time::Duration;

/// The state of one plugin in the snapshot of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginFact {
    pub id: String,
    pub state: &'static str,
    /// The latest error: its stage and its text.
    pub last_error: Option<(String, String)>,
    /// The output to standard error before the latest error.
    pub last_words: Option<String>,
    /// Settings that the plugin ignores, and why.
    pub ignored_settings: Option<String>,
}

/// The seam between the snapshot of the agent and the plugin host.
pub(crate) trait PluginFacts: Send + Sync + 'static {
    fn plugins(&self) -> Vec<PluginFact>;
    /// Time since the plugin clock last ticked.
    fn ticker_age(&self) -> Duration;
}
