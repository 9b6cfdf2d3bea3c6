//! Status of each plugin, for `/api/plugins`, the board and the metrics.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::agent_part::AgentPart;
use tokio_util::sync::CancellationToken;

use super::host::PluginHost;
use super::import::wrong_setting::texts;
use super::run::engine::TICKER_DEAD_AFTER;
use super::slot::{LastError, Origin, PluginState, Slot};
use crate::board::{Board, PartHealth};
use crate::config::plugins::PluginConfig;

/// Time between two updates of the board. It is less than the shortest quarantine, so that none is missed.
const UPDATE_EVERY: Duration = Duration::from_millis(250);

/// The status of one plugin, as the API and the snapshots of the agent read it.
#[derive(Debug, Clone)]
pub struct PluginStatus {
    pub id: String,
    /// Name of the world. `None` until a version of the plugin was loaded.
    pub world: Option<&'static str>,
    pub version: Option<String>,
    pub source: Option<Origin>,
    pub enabled: bool,
    pub state: PluginState,
    /// Counts the versions loaded since the start; a refused file does not change it.
    pub generation: u64,
    pub digest: Option<String>,
    pub last_error: Option<LastError>,
    pub calls: u64,
    pub traps: u64,
    pub cpu_seconds: f64,
    pub memory_bytes_max: u64,
    pub wants: Vec<String>,
    /// Rules that can never match, since no collector meets their needs.
    pub warnings: Vec<String>,
    /// Settings that the plugin ignores, and receivers whose settings it refuses.
    pub ignored_settings: Vec<String>,
    pub granted: Vec<String>,
}

impl PluginHost {
    /// Status of every plugin, by id. `config` has the grants.
    pub fn status(&self, config: &std::collections::BTreeMap<String, PluginConfig>) -> Vec<PluginStatus> {
        self.slots().iter().map(|(id, slot)| status(id, slot, config.get(id))).collect()
    }

    /// Shows the health of the plugins and of their clock on the board, until `stop`.
    pub async fn follow(self, board: Arc<Board>, stop: CancellationToken) {
        let mut has_started = false;
        loop {
            let (state, cause) = clock_health(self.ticker_age());
            board.set(AgentPart::PluginClock, state, cause);
            let (state, cause) = self.health(has_started);
            has_started |= state != PartHealth::Starting;
            board.set(AgentPart::Plugins, state, cause);
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(UPDATE_EVERY) => {} }
        }
    }

    /// Health of all plugins: starting until every enabled one has been tried, and degraded if one of them does not serve. A plugin that is
    /// loaded later does not degrade the agent.
    fn health(&self, has_started: bool) -> (PartHealth, Option<String>) {
        let slots = self.slots();
        let troubles: Vec<String> = slots.iter().filter_map(|(id, slot)| trouble(id, slot)).collect();
        let cause = (!troubles.is_empty()).then(|| troubles.join("; "));
        match cause {
            _ if !has_started && slots.values().any(|slot| slot.loading) => (PartHealth::Starting, cause),
            Some(_) => (PartHealth::Degraded, cause),
            None => (PartHealth::Ok, None),
        }
    }

    /// Brings the plugin's gauges up to date.
    pub(super) fn measure(&self, plugin: &str) {
        let metrics = &self.shared.metrics;
        let slots = self.slots();
        let Some(slot) = slots.get(plugin) else { return };
        let state = slot.state();
        for known in PluginState::ALL {
            metrics.set("pharos_plugin_state", &[plugin, known.as_str()], f64::from(u8::from(state == known)));
        }
        metrics.remove("pharos_plugin_info", &[plugin]);
        if let Some(active) = &slot.active {
            let generation = &active.generation;
            let labels = [plugin, active.world.name(), &generation.description.version, &generation.digest[..12]];
            metrics.set("pharos_plugin_info", &labels, 1.0);
            metrics.set("pharos_plugin_generation", &[plugin], active.number as f64);
            metrics.set("pharos_plugin_settings_ignored", &[plugin], active.generation.ignored.len() as f64);
        }
    }

    /// Time since the plugin clock last ticked.
    pub fn ticker_age(&self) -> Duration {
        self.shared.ticker.age()
    }
}

fn clock_health(age: Duration) -> (PartHealth, Option<String>) {
    match age < TICKER_DEAD_AFTER {
        true => (PartHealth::Ok, None),
        false => (PartHealth::Failed, Some("it stands still, so no plugin is called".to_owned())),
    }
}

/// Reason why an enabled plugin does not serve as it should.
fn trouble(id: &str, slot: &Slot) -> Option<String> {
    match (slot.state(), &slot.last_error) {
        (PluginState::Failed, Some(err)) => Some(format!("`{id}` failed at {}: {}", err.stage.as_str(), err.message)),
        (PluginState::Failed, None) => Some(format!("`{id}` failed")),
        (PluginState::Quarantined, Some(err)) => Some(format!("`{id}` is quarantined: it {}", err.message)),
        (PluginState::Quarantined, None) => Some(format!("`{id}` is quarantined")),
        (PluginState::Failing, last) => {
            let failings = slot.health.failings().unwrap_or_default();
            let last = last.as_ref().map(|err| format!("; the last time it {}", err.message)).unwrap_or_default();
            Some(format!("`{id}` {failings}{last}"))
        }
        (PluginState::Serving, _) => {
            let ignored = &slot.active.as_ref()?.generation.ignored;
            (!ignored.is_empty()).then(|| format!("`{id}` ignores wrong settings: {}", texts(ignored).join("; ")))
        }
        (PluginState::Loading | PluginState::Disabled, _) => None,
    }
}

fn status(id: &str, slot: &Slot, config: Option<&PluginConfig>) -> PluginStatus {
    let generation = slot.active.as_ref().map(|active| &active.generation);
    let egress = config.map(|config| config.grants.egress.iter().map(|host| format!("egress {host}")));
    let secrets = config.map(|config| config.grants.secrets.iter().map(|name| format!("secret {name}")));
    let mail = config.map(|config| config.grants.mail.iter().map(|relay| format!("mail {relay}")));
    PluginStatus {
        id: id.to_owned(),
        world: slot.active.as_ref().map(|active| active.world.name()),
        version: generation.map(|generation| generation.description.version.clone()),
        source: slot.active.as_ref().map(|active| active.origin),
        enabled: slot.enabled,
        state: slot.state(),
        generation: slot.active.as_ref().map_or(0, |active| active.number),
        digest: generation.map(|generation| generation.digest.clone()),
        last_error: slot.last_error.clone(),
        calls: slot.totals.calls,
        traps: slot.totals.traps,
        cpu_seconds: slot.totals.cpu.as_secs_f64(),
        memory_bytes_max: slot.totals.memory_max_bytes,
        wants: generation.map(|generation| generation.description.wants.iter().map(|(want, _)| want.clone()).collect()).unwrap_or_default(),
        warnings: generation.map(|generation| generation.warnings.clone()).unwrap_or_default(),
        ignored_settings: generation.map(|generation| texts(&generation.ignored)).unwrap_or_default(),
        granted: egress.into_iter().flatten().chain(secrets.into_iter().flatten()).chain(mail.into_iter().flatten()).collect(),
    }
}
