//! Events of plugins, as the pipeline records them.

use pharos_model::event::PluginEventKind;

/// A change of a plugin's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginEvent {
    pub plugin: String,
    pub kind: PluginEventKind,
    pub text: String,
}
