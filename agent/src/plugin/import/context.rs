//! What all instances of one generation share with the host: identity, rate limits, and the capabilities that its grants open.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::egress::EgressPolicy;
use super::mail::MailPolicy;
use super::state::StateAccess;
use crate::clock::Clock;
use crate::plugin::load::trial::Wrong;
use crate::telemetry::metrics::SelfMetrics;

/// Lines a plugin may log at once ...
const LOG_BURST: f64 = 50.0;
/// ... and a second from then on.
const LOG_PER_SECOND: f64 = 5.0;
/// Metrics of its own that a plugin may name.
const METRIC_NAMES_MAX: usize = 200;
const METRIC_NAME_BYTES_MAX: usize = 64;
/// Wrong settings that are remembered of a plugin.
const IGNORED_MAX: usize = 50;

pub struct PluginContext {
    pub id: String,
    pub metrics: Arc<SelfMetrics>,
    pub state: StateAccess,
    pub egress: EgressPolicy,
    pub mail: MailPolicy,
    clock: Clock,
    log_tokens: Mutex<Tokens>,
    metric_names: Mutex<BTreeSet<String>>,
    ignored: Mutex<Ignored>,
}

/// Settings that the plugin leaves out.
#[derive(Default)]
struct Ignored {
    known: BTreeSet<Wrong>,
    /// Those since they were last taken.
    fresh: Vec<Wrong>,
}

struct Tokens {
    left: f64,
    at: Duration,
}

impl PluginContext {
    pub fn new(id: String, metrics: Arc<SelfMetrics>, state: StateAccess, egress: EgressPolicy, mail: MailPolicy, clock: Clock) -> Self {
        let log_tokens = Mutex::new(Tokens { left: LOG_BURST, at: clock.monotonic() });
        Self { id, metrics, state, egress, mail, clock, log_tokens, metric_names: Mutex::default(), ignored: Mutex::default() }
    }

    /// Notes that the plugin leaves a setting out. Whether it is the first time: each of its instances says it again.
    pub fn ignores(&self, wrong: Wrong) -> bool {
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        // Several receivers may have the same mistake, and each counts.
        if ignored.fresh.len() < IGNORED_MAX && !ignored.fresh.contains(&wrong) {
            ignored.fresh.push(wrong.clone());
        }
        ignored.known.len() < IGNORED_MAX && ignored.known.insert(wrong)
    }

    /// What it left out since this was last asked.
    pub fn take_ignored(&self) -> Vec<Wrong> {
        std::mem::take(&mut self.ignored.lock().unwrap_or_else(PoisonError::into_inner).fresh)
    }

    /// Takes a token for a line of the log; counts the line as suppressed where there is none.
    pub fn may_log(&self) -> bool {
        let mut tokens = self.log_tokens.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Whether a name is one that Prometheus takes, and among the first that the plugin used.
    pub fn may_name_metric(&self, name: &str) -> bool {
        let valid = !name.is_empty()
            && name.len() <= METRIC_NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !valid {
            return false;
        }
        let mut names = self.metric_names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(name) {
            return true;
        }
        names.len() < METRIC_NAMES_MAX && names.insert(name.to_owned())
    }
}
