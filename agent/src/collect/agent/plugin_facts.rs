//! The state of plugins, as the snapshot of the agent asks for it.

use std::time::Duration;

/// A plugin as the agent's snapshot shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFact {
    pub id: String,
    pub state: &'static str,
    /// The latest error: its stage and its text.
    pub last_error: Option<(String, String)>,
    /// The output to standard error before the latest error.
    pub last_words: Option<String>,
    /// Settings that it serves without, and why.
    pub ignored_settings: Option<String>,
}

/// The seam at which the agent connects its own snapshot with the plugin host.
pub trait PluginFacts: Send + Sync + 'static {
    fn plugins(&self) -> Vec<PluginFact>;
    /// Time since the plugin clock last ticked.
    fn ticker_age(&self) -> Duration;
}
