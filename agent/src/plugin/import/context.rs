//! Context of a plugin: everything that the instances of one generation share with the host.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::text;
use tracing::{debug, error, info, trace, warn};

use super::egress::EgressPolicy;
use super::mail::MailPolicy;
use super::state::StateAccess;
use super::wrong_setting::WrongSetting;
use crate::clock::Clock;
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::log::Level;
use crate::telemetry::metrics::SelfMetrics;

/// Bytes of a line that a plugin logs, and of the fields beside it. Longer lines are cut.
pub(crate) const LINE_BYTES_MAX: usize = 4_096;
/// Lines that a plugin may log at once. More are suppressed and counted, so that a plugin cannot fill the disk.
const LOG_BURST: f64 = 50.0;
/// Lines a second that a plugin may log after a burst.
const LOG_PER_SECOND: f64 = 5.0;
/// Metrics that a plugin may define. Each is a series of `/metrics`.
const METRIC_NAMES_MAX: usize = 200;
/// Bytes of the name of such a metric.
const METRIC_NAME_BYTES_MAX: usize = 64;
/// Wrong settings that are remembered of a plugin. A plugin that reports more only repeats itself.
const WRONG_SETTINGS_MAX: usize = 50;

/// Capabilities that the grants of a plugin open.
pub struct Capabilities {
    pub state: StateAccess,
    pub egress: EgressPolicy,
    pub mail: MailPolicy,
}

/// Identity, rate limits and capabilities of one generation.
pub struct PluginContext {
    pub id: String,
    pub metrics: Arc<SelfMetrics>,
    pub capabilities: Capabilities,
    clock: Clock,
    log_tokens: Mutex<Tokens>,
    metric_names: Mutex<BTreeSet<String>>,
    wrong_settings: Mutex<WrongSettings>,
}

/// Settings that the plugin reported as ignored.
#[derive(Default)]
struct WrongSettings {
    known: BTreeSet<WrongSetting>,
    /// Those reported since the last [`PluginContext::drain_wrong_settings`].
    fresh: Vec<WrongSetting>,
}

struct Tokens {
    left: f64,
    at: Duration,
}

impl PluginContext {
    pub fn new(id: String, capabilities: Capabilities, metrics: Arc<SelfMetrics>, clock: Clock) -> Self {
        let log_tokens = Mutex::new(Tokens { left: LOG_BURST, at: clock.monotonic() });
        Self { id, metrics, capabilities, clock, log_tokens, metric_names: Mutex::default(), wrong_settings: Mutex::default() }
    }

    /// Writes a line of the plugin into the agent's log, if its rate limit allows.
    pub fn log(&self, level: Level, message: &str, fields: &str) {
        if !self.may_log() {
            return;
        }
        let (id, message, fields) = (self.id.as_str(), text::line(message, LINE_BYTES_MAX), text::line(fields, LINE_BYTES_MAX));
        let fields = fields.as_ref();
        match level {
            Level::Trace => trace!(plugin = id, fields, "{message}"),
            Level::Debug => debug!(plugin = id, fields, "{message}"),
            Level::Info => info!(plugin = id, fields, "{message}"),
            Level::Warn => warn!(plugin = id, fields, "{message}"),
            Level::Error => error!(plugin = id, fields, "{message}"),
        }
    }

    /// Takes a token for a line of the log. Without a token the line is counted as suppressed.
    fn may_log(&self) -> bool {
        let mut tokens = self.log_tokens.lock();
        let now = self.clock.monotonic();
        let refill = now.saturating_sub(tokens.at).as_secs_f64() * LOG_PER_SECOND;
        *tokens = Tokens { left: (tokens.left + refill).min(LOG_BURST), at: now };
        if tokens.left < 1.0 {
            self.metrics.add("pharos_plugin_log_suppressed_total", &[&self.id], 1.0);
            return false;
        }
        tokens.left -= 1.0;
        true
    }

    /// Notes a setting that the plugin ignores. True the first time: each instance of the plugin reports the setting again.
    pub fn note_wrong_setting(&self, wrong: WrongSetting) -> bool {
        let mut settings = self.wrong_settings.lock();
        // Several receivers may have the same mistake, and each counts.
        if settings.fresh.len() < WRONG_SETTINGS_MAX && !settings.fresh.contains(&wrong) {
            settings.fresh.push(wrong.clone());
        }
        settings.known.len() < WRONG_SETTINGS_MAX && settings.known.insert(wrong)
    }

    /// Returns the settings that were noted since the last call of this method.
    pub fn drain_wrong_settings(&self) -> Vec<WrongSetting> {
        std::mem::take(&mut self.wrong_settings.lock().fresh)
    }

    /// Whether Prometheus takes this name of a metric, and the plugin has few enough of them.
    pub fn may_name_metric(&self, name: &str) -> bool {
        let valid = !name.is_empty()
            && name.len() <= METRIC_NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !valid {
            return false;
        }
        let mut names = self.metric_names.lock();
        if names.contains(name) {
            return true;
        }
        names.len() < METRIC_NAMES_MAX && names.insert(name.to_owned())
    }
}
