//! The state of plugins, as the snapshot of the agent asks for it.

use std::time::Duration;

/// A plugin as the agent's snapshot shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFact {
    pub id: String,
    pub state: &'static str,
    /// What went wrong last: where, and why.
    pub last_error: Option<(String, String)>,
    /// What it wrote to standard error before that.
    pub last_words: Option<String>,
    /// Settings that it serves without, and why.
    pub ignored_settings: Option<String>,
}

/// What the snapshot asks of the plugin host: the seam at which the agent connects the two.
pub trait PluginFacts: Send + Sync + 'static {
    fn plugins(&self) -> Vec<PluginFact>;
    /// Time since the plugin clock last ticked.
    fn ticker_age(&self) -> Duration;
}
