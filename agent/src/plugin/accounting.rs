//! Accounting of calls: each call into a plugin is permitted, measured and recorded. A plugin that fails too often is quarantined.

use std::sync::Arc;

use pharos_model::event::PluginEventKind;
use tracing::warn;

use super::event::PluginEvent;
use super::host::PluginHost;
use super::run::call_error::{CallError, and_wrote};
use super::run::callee::Callee;
use super::run::instance::Usage;
use super::run::quarantine::Verdict;
use super::run::turns::Turn;
use super::slot::Slot;
use super::stage::Stage;

impl PluginHost {
    /// Runs a call, unless the plugin is quarantined, and records the result.
    pub(super) async fn call<T>(
        &self,
        callee: Callee<'_>,
        turn: Result<Turn, CallError>,
        call: impl Future<Output = (Usage, Result<T, CallError>)>,
    ) -> Result<T, CallError> {
        // A probe must not wait once it is permitted: every other probe is refused meanwhile.
        let permitted = turn.and_then(|turn| self.permit(callee.plugin, callee.about).map(|()| turn));
        let turn =
            permitted.inspect_err(|err| self.shared.metrics.add("pharos_plugin_failures_total", &[callee.plugin, err.reason()], 1.0))?;
        let (usage, result) = call.await;
        drop(turn);
        self.account(callee, usage, result.as_ref().err()).await;
        result
    }

    fn permit(&self, plugin: &str, about: &str) -> Result<(), CallError> {
        if !self.shared.ticker.is_alive() {
            return Err(CallError::NoClock);
        }
        let now = self.shared.clock.monotonic();
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(plugin) else { return Ok(()) };
        slot.health.may_call(about, now).map_err(|left| {
            let why = slot.last_error.as_ref().map_or("it failed too often", |err| err.message.as_str());
            CallError::Quarantined(format!("for another {:.1} s, since it {why}", left.as_secs_f64()))
        })
    }

    /// Records the usage and the result of a call. Too many offences quarantine the plugin, or the previous generation serves again.
    async fn account(&self, Callee { plugin, about, generation }: Callee<'_>, usage: Usage, err: Option<&CallError>) {
        let metrics = &self.shared.metrics;
        metrics.add("pharos_plugin_calls_total", &[plugin], 1.0);
        metrics.add("pharos_plugin_cpu_seconds_total", &[plugin], usage.cpu.as_secs_f64());
        metrics.add("pharos_plugin_call_seconds_total", &[plugin], usage.wall.as_secs_f64());
        if let Some(err) = err {
            metrics.add("pharos_plugin_failures_total", &[plugin, err.reason()], 1.0);
        }
        let event = {
            let mut slots = self.slots();
            let Some(slot) = slots.get_mut(plugin) else { return };
            slot.totals.calls += 1;
            slot.totals.cpu += usage.cpu;
            slot.totals.memory_max_bytes = slot.totals.memory_max_bytes.max(usage.memory_peak_bytes);
            metrics.set("pharos_plugin_memory_max_bytes", &[plugin], slot.totals.memory_max_bytes as f64);
            // A call that began in an older generation proves nothing about the present one.
            let current = slot.active.as_ref().is_some_and(|active| Arc::ptr_eq(&active.generation, generation));
            if current { self.settle(plugin, about, slot, err) } else { None }
        };
        if let Some(event) = event {
            self.announce(event).await;
        }
    }

    fn settle(&self, plugin: &str, about: &str, slot: &mut Slot, err: Option<&CallError>) -> Option<PluginEvent> {
        let now = self.shared.clock.monotonic();
        let event = |kind, text: String| Some(PluginEvent { plugin: plugin.to_owned(), kind, text });
        let Some(err) = err.filter(|err| err.is_offence()) else {
            let recovered = slot.health.worked(about, now);
            let change = if slot.health.is_failing() { "is called again after its pause" } else { "works again" };
            return if recovered { event(PluginEventKind::Recovered, format!("`{plugin}` {change}")) } else { None };
        };
        slot.totals.traps += 1;
        let last_error = self.last_error(Stage::Call, err.to_string(), err.last_words());
        // The text of a repeated crash is logged only once.
        let is_known = slot.last_error.as_ref().is_some_and(|before| before.last_words == last_error.last_words);
        let wrote = if is_known { String::new() } else { and_wrote(err.last_words()) };
        slot.last_error = Some(last_error);
        warn!(plugin, reason = err.reason(), "a call of `{plugin}` {err}{wrote}");
        let (pause, from) = match slot.health.offended(about, now, fastrand::f64()) {
            Verdict::Tolerated => return None,
            Verdict::Quarantined(pause) => (pause, String::new()),
            Verdict::SubjectPaused(pause) => (pause, format!(" about {about}")),
        };
        if let Some(failed) = slot.roll_back(now) {
            slot.last_error =
                Some(self.last_error(Stage::Probation, format!("the new version was rolled back: it {err}"), err.last_words()));
            return event(
                PluginEventKind::RolledBack,
                format!("`{plugin}` {} failed on probation ({err}); the previous version serves again", &failed[..12]),
            );
        }
        event(PluginEventKind::Quarantined, format!("`{plugin}` is not called{from} for {:.1} s: it {err}", pause.as_secs_f64()))
    }
}
