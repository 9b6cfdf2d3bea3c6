//! What `/api/plugins` and the metrics show of each plugin.

use serde::Serialize;

use super::slot::{LastError, Origin, Slot};
use super::{PluginHost, lock};
use crate::config::plugins::PluginConfig;

const STATES: [&str; 5] = ["serving", "loading", "quarantined", "failed", "disabled"];

#[derive(Debug, Clone, Serialize)]
pub struct PluginStatus {
    pub id: String,
    pub world: Option<&'static str>,
    pub version: Option<String>,
    pub source: Option<Origin>,
    pub enabled: bool,
    pub state: &'static str,
    /// Counts the versions loaded since the start; a refused file does not change it.
    pub generation: u64,
    pub digest: Option<String>,
    pub last_error: Option<LastError>,
    pub calls: u64,
    pub traps: u64,
    pub cpu_seconds: f64,
    pub memory_bytes_max: u64,
    pub wants: Vec<String>,
    pub granted: Vec<String>,
}

impl PluginHost {
    /// Every plugin, by id. `config` says what is granted.
    pub fn status(&self, config: &std::collections::BTreeMap<String, PluginConfig>) -> Vec<PluginStatus> {
        self.slots().iter().map(|(id, slot)| status(id, slot, config.get(id))).collect()
    }

    /// Whether every enabled plugin has been tried.
    pub fn is_settled(&self) -> bool {
        self.slots().values().all(|slot| !slot.loading)
    }

    /// Brings the plugin's gauges up to date.
    pub(super) fn measure(&self, plugin: &str) {
        let metrics = &self.shared.metrics;
        let slots = lock(&self.shared.slots);
        let Some(slot) = slots.get(plugin) else { return };
        let state = slot.state();
        for known in STATES {
            metrics.set("pharos_plugin_state", &[plugin, known], f64::from(u8::from(state == known)));
        }
        metrics.forget("pharos_plugin_info", &[plugin]);
        if let Some(active) = &slot.active {
            let generation = &active.generation;
            let labels = [plugin, generation.world.as_str(), &generation.description.version, &generation.digest[..12]];
            metrics.set("pharos_plugin_info", &labels, 1.0);
            metrics.set("pharos_plugin_generation", &[plugin], active.number as f64);
        }
    }

    /// Time since the plugin clock last ticked.
    pub fn ticker_age(&self) -> std::time::Duration {
        self.shared.ticker.age()
    }
}

fn status(id: &str, slot: &Slot, config: Option<&PluginConfig>) -> PluginStatus {
    let generation = slot.active.as_ref().map(|active| &active.generation);
    let egress = config.map(|config| config.grants.egress.iter().map(|host| format!("egress {host}")));
    let secrets = config.map(|config| config.grants.secrets.iter().map(|name| format!("secret {name}")));
    PluginStatus {
        id: id.to_owned(),
        world: generation.map(|generation| generation.world.as_str()),
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
        granted: egress.into_iter().flatten().chain(secrets.into_iter().flatten()).collect(),
    }
}
