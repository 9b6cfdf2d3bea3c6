//! Changes of a plugin: a generation that begins to serve, a file that is refused, a plugin that is removed.

use std::sync::Arc;

use pharos_model::event::PluginEventKind;
use pharos_model::text;
use tracing::{debug, error, info, warn};

use super::event::PluginEvent;
use super::host::PluginHost;
use super::import::wrong_setting::{IgnoredSetting, texts};
use super::load::steps::Tried;
use super::run::call_error::and_wrote;
use super::run::generation::Generation;
use super::slot::{LastError, Origin, Slot};
use super::stage::Stage;
use crate::clock::rfc3339;

/// Bytes of the text of an event, and of a plugin's last error. Longer texts are cut, since they are stored and served.
const EVENT_BYTES_MAX: usize = 4_000;

impl PluginHost {
    /// Puts a generation to work. Calls that began in the generation before finish there.
    pub(super) async fn publish(&self, plugin: &str, Tried { world, generation }: Tried, origin: Origin) {
        for warning in &generation.warnings {
            warn!(plugin, "`{plugin}`: {warning}");
        }
        for ignored in &generation.ignored {
            warn!(plugin, "`{plugin}` leaves a wrong setting out: {}", ignored.text);
        }
        let generation = Arc::new(generation);
        let digest = generation.digest.clone();
        let version = generation.description.version.clone();
        let number = {
            let mut slots = self.slots();
            let slot = slots.entry(plugin.to_owned()).or_default();
            let ignored = texts(&generation.ignored).join("; ");
            let number = slot.publish(world, generation, origin, self.shared.clock.monotonic() + self.shared.probation);
            if !ignored.is_empty() {
                slot.last_error = Some(self.last_error(Stage::SettingsIgnored, ignored, None));
            }
            number
        };
        let text = format!("`{plugin}` {version} serves as generation {number} ({})", &digest[..12]);
        self.announce(PluginEvent { plugin: plugin.to_owned(), kind: PluginEventKind::Loaded, text }).await;
    }

    /// Settings that the serving generation accepts and this one would ignore. A new reason for a setting that is ignored already does not
    /// count.
    pub(super) fn loses_settings(&self, plugin: &str, next: &Generation) -> Option<String> {
        let slots = self.slots();
        let active = &slots.get(plugin)?.active.as_ref()?.generation;
        let is_lost = |ignored: &&IgnoredSetting| !active.ignored.iter().any(|before| ignored.is_part_of(before));
        let lost: Vec<IgnoredSetting> = next.ignored.iter().filter(is_lost).cloned().collect();
        (!lost.is_empty()).then(|| texts(&lost).join("; "))
    }

    /// Notes a file that could not be loaded. The generation before still serves.
    pub(super) async fn refuse(&self, plugin: &str, stage: Stage, message: String, last_words: Option<&str>) {
        let text = format!("`{plugin}` refused at {}: {message}{}", stage.as_str(), and_wrote(last_words));
        {
            let mut slots = self.slots();
            let slot = slots.entry(plugin.to_owned()).or_insert_with(|| Slot { enabled: true, ..Slot::default() });
            slot.loading = false;
            slot.last_error = Some(self.last_error(stage, message, last_words));
        }
        self.announce(PluginEvent { plugin: plugin.to_owned(), kind: PluginEventKind::Refused, text }).await;
    }

    /// Takes a plugin out of service.
    pub(super) async fn remove(&self, plugin: &str) {
        let served = self.slots().remove(plugin).is_some_and(|slot| slot.active.is_some());
        for gauge in [
            "pharos_plugin_info",
            "pharos_plugin_state",
            "pharos_plugin_generation",
            "pharos_plugin_memory_max_bytes",
            "pharos_plugin_settings_ignored",
        ] {
            self.shared.metrics.remove(gauge, &[plugin]);
        }
        if served {
            let text = format!("`{plugin}` was removed; its alerts stay as they are");
            self.announce(PluginEvent { plugin: plugin.to_owned(), kind: PluginEventKind::Removed, text }).await;
        }
    }

    /// Announces a change: a log line, a metric, an event. Waits while the queue is full: a pipeline that missed this event would never
    /// judge again with the new generation. The pipeline takes events while it polls the calls that wait here.
    pub(super) async fn announce(&self, event: PluginEvent) {
        // The text becomes one line, since it goes into the log, the store and answers of the API.
        let event = PluginEvent { text: text::line(&event.text, EVENT_BYTES_MAX).into_owned(), ..event };
        let plugin = event.plugin.as_str();
        match event.kind {
            PluginEventKind::Loaded | PluginEventKind::Recovered => info!(plugin, "{}", event.text),
            PluginEventKind::Removed | PluginEventKind::Quarantined => warn!(plugin, "{}", event.text),
            PluginEventKind::Refused | PluginEventKind::RolledBack => error!(plugin, "{}", event.text),
        }
        if matches!(event.kind, PluginEventKind::Loaded | PluginEventKind::Refused | PluginEventKind::RolledBack | PluginEventKind::Removed)
        {
            self.shared.metrics.add("pharos_plugin_loads_total", &[plugin, event.kind.as_str()], 1.0);
        }
        self.measure(plugin);
        if self.shared.events.send(event).await.is_err() {
            debug!("a plugin's event came after the pipeline had ended");
        }
    }

    pub(super) fn last_error(&self, stage: Stage, message: String, last_words: Option<&str>) -> LastError {
        let message = text::line(&message, EVENT_BYTES_MAX).into_owned();
        // One line as well, as every text of an answer.
        let last_words = last_words.map(|words| text::line(words, EVENT_BYTES_MAX).into_owned());
        LastError { at: rfc3339(self.shared.clock.wall_ms()), stage, message, last_words }
    }
}
