//! Rules that never find anything: shows, reports and stores the model's history of their matches.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::alert::{Cycle, MatchHistory};
use pharos_model::error_chain::chain;
use tracing::{error, info, warn};

use crate::config::alerts::AlertsConfig;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::SelfMetrics;

const METRIC: &str = "pharos_rule_never_matched";

/// Time between two writes. A crash may lose this much of a time that is counted in days.
const STORE_EVERY: Duration = Duration::from_secs(600);

/// The history of matches of all rules, and the metric that reports rules without any.
pub(crate) struct Unmatched {
    history: MatchHistory,
    /// Time without a finding after which a rule is reported.
    after: Duration,
    stored_at: Duration,
    metrics: Arc<SelfMetrics>,
}

impl Unmatched {
    /// Continues from the history that an earlier process stored.
    pub(crate) async fn restore(config: &AlertsConfig, store: &Store, metrics: Arc<SelfMetrics>) -> Result<Self, StoreError> {
        let history = MatchHistory::restore(store.unmatched().await?);
        Ok(Self { history, after: config.never_matched_after, stored_at: Duration::ZERO, metrics })
    }

    /// Adds one evaluation. A rule of a shipped plugin watches for things that not every server has. So with `is_shipped`, a rule without
    /// anything to judge counts as matched.
    pub(crate) fn observe(&mut self, cycle: &Cycle<'_>, is_shipped: bool, now: Duration) {
        self.history.observe(cycle, is_shipped, now);
        for (plugin, rule, never) in self.history.take_changes(self.after) {
            self.metrics.set(METRIC, &[&plugin, &rule], f64::from(u8::from(never)));
            let after = self.after;
            match never {
                true => warn!(plugin, rule, "rule `{rule}` of `{plugin}` has matched nothing for {after:?}"),
                false => info!(plugin, rule, "rule `{rule}` of `{plugin}` matches now"),
            }
        }
    }

    /// Removes the state of rules that the plugin does not have any more.
    pub(crate) fn retain_rules(&mut self, plugin: &str, rules: &[String]) {
        for dropped in self.history.retain_rules(plugin, rules) {
            self.metrics.remove(METRIC, &[plugin, &dropped]);
        }
    }

    /// Removes the state of a plugin.
    pub(crate) fn remove_plugin(&mut self, plugin: &str) {
        self.history.remove_plugin(plugin);
        self.metrics.remove(METRIC, &[plugin]);
    }

    /// Stores the history if [`STORE_EVERY`] has passed.
    pub(crate) async fn store_if_due(&mut self, store: &Store, now: Duration) {
        if now.saturating_sub(self.stored_at) >= STORE_EVERY {
            self.stored_at = now;
            self.history.remove_unevaluated();
            self.store(store).await;
        }
    }

    /// Stores the history.
    pub(crate) async fn store(&self, store: &Store) {
        if let Err(err) = store.save_unmatched(self.history.unmatched()).await {
            error!(error = chain(&err), "the times for which rules have matched nothing could not be stored");
        }
    }
}
