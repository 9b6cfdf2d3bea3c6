//! The place of one plugin id: which generation serves, which one did before, and how it behaves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::run::generation::Generation;
use super::run::quarantine::Health;
use super::stage::Stage;
use super::world::World;

/// Origin of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Embedded,
    File,
}

/// A generation with its number and origin.
#[derive(Clone)]
pub(super) struct Loaded {
    pub world: &'static dyn World,
    pub generation: Arc<Generation>,
    /// Counts the versions loaded under this id since the agent started.
    pub number: u64,
    pub origin: Origin,
    /// Monotonic time from which on it is no longer on probation.
    pub proven_at: Duration,
}

/// The latest error of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// RFC 3339.
    pub at: String,
    pub stage: Stage,
    pub message: String,
    /// Text that the plugin wrote to standard error before it was stopped: a panic, a traceback.
    pub last_words: Option<String>,
}

/// Sums over all generations of one id.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub calls: u64,
    pub traps: u64,
    pub cpu: Duration,
    pub memory_max_bytes: u64,
}

#[derive(Default)]
pub(super) struct Slot {
    pub enabled: bool,
    pub loading: bool,
    pub active: Option<Loaded>,
    pub previous: Option<Loaded>,
    pub loads: u64,
    pub health: Health,
    pub last_error: Option<LastError>,
    pub totals: Totals,
    /// Digests that failed in service; their files are not loaded again until they change.
    pub known_bad: BTreeSet<String>,
}

/// State of a plugin, as `/api/plugins` and the metric `pharos_plugin_state` serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PluginState {
    Serving,
    /// The plugin is called, and fails too often to be healthy.
    Failing,
    /// The plugin was not tried yet.
    Loading,
    /// The plugin failed too often, and is not called before a pause is over.
    Quarantined,
    /// No version of the plugin could be loaded.
    Failed,
    /// The config turned the plugin off.
    Disabled,
}

impl PluginState {
    pub const ALL: [Self; 6] = [Self::Serving, Self::Failing, Self::Loading, Self::Quarantined, Self::Failed, Self::Disabled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Failing => "failing",
            Self::Loading => "loading",
            Self::Quarantined => "quarantined",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
        }
    }
}

impl Slot {
    pub(super) fn state(&self) -> PluginState {
        match &self.active {
            _ if !self.enabled => PluginState::Disabled,
            Some(_) if self.health.is_quarantined() => PluginState::Quarantined,
            Some(_) if self.health.is_failing() => PluginState::Failing,
            Some(_) => PluginState::Serving,
            None if self.loading => PluginState::Loading,
            None => PluginState::Failed,
        }
    }

    /// Makes a generation the active one. The one before it is stored, so that it can serve again.
    pub(super) fn publish(&mut self, world: &'static dyn World, generation: Arc<Generation>, origin: Origin, proven_at: Duration) -> u64 {
        self.loads += 1;
        let next = Loaded { world, generation, number: self.loads, origin, proven_at };
        self.previous = self.active.replace(next);
        if let Some(previous) = &self.previous {
            previous.generation.retire();
        }
        self.health = Health::default();
        self.loading = false;
        self.last_error = None;
        self.loads
    }

    /// Goes back to the generation before, if the present one is still on probation. Returns the digest that failed.
    pub(super) fn roll_back(&mut self, now: Duration) -> Option<String> {
        let failed = self.active.as_ref().filter(|active| now < active.proven_at)?.generation.digest.clone();
        let previous = self.previous.take()?;
        self.known_bad.insert(failed.clone());
        previous.generation.revive();
        if let Some(taken_back) = self.active.replace(previous) {
            taken_back.generation.retire();
        }
        self.health = Health::default();
        Some(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_names_that_rules_and_dashboards_know() {
        assert_eq!(PluginState::ALL.map(PluginState::as_str).join(" "), "serving failing loading quarantined failed disabled");
        let turned_off = Slot { loading: true, ..Slot::default() };
        assert_eq!(turned_off.state(), PluginState::Disabled);
        assert_eq!(Slot { enabled: true, ..turned_off }.state(), PluginState::Loading);
        assert_eq!(Slot { enabled: true, ..Slot::default() }.state(), PluginState::Failed);
    }
}
