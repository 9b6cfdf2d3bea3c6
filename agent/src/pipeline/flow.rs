//! The path of one observation, from start to end. This is the file to read first.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_model::alert::{AlertBook, Cycle, Now, Transition};
use pharos_model::delta::Deltas;
use pharos_model::dispatch::{Dispatcher, Withheld};
use pharos_model::error_chain::chain;
use pharos_model::event::PluginEventKind;
use pharos_model::snapshot::{Change, Snapshot};
use pharos_model::subject::SubjectKey;
use tracing::{error, info};

use super::records::{plugin_event, transition_entry, transition_event, withheld_event};
use super::rounds::{Judged, Rounds};
use super::unmatched::Unmatched;
use super::upkeep;
use crate::board::Board;
use crate::clock::Clock;
use crate::notify::{Numbered, Receivers};
use crate::plugin::{Judgement, PluginEvent, PluginHost};
use crate::store::{AlertChanges, Store};
use crate::telemetry::metrics::SelfMetrics;

/// State that one observation changes.
pub(crate) struct Pipeline {
    pub deltas: Deltas,
    pub alerts: AlertBook,
    pub dispatcher: Dispatcher,
    pub unmatched: Unmatched,
    pub plugins: PluginHost,
    pub store: Store,
    pub board: Arc<Board>,
    pub receivers: Receivers,
    pub metrics: Arc<SelfMetrics>,
    pub clock: Clock,
}

impl Pipeline {
    /// Publishes a new snapshot at once, and starts its judgement by plugins.
    pub(super) fn observe(&mut self, mut snapshot: Snapshot, rounds: &mut Rounds) {
        snapshot.expire(self.clock.monotonic()); // stale parts are never judged
        let change = Arc::new(self.deltas.push(snapshot)); // rates since the snapshot before
        self.board.publish(&change); // readers see one consistent picture
        rounds.judge(&change, &self.plugins); // each plugin judges alone, in its sandbox
    }

    /// Applies a plugin's judgement: findings become alerts, which are stored, shown and sent.
    pub(super) async fn decide(&mut self, Judged { change, judgement }: Judged) {
        let Judgement { plugin, rules, outcome, is_shipped, .. } = judgement;
        let cycle = Cycle { plugin: &plugin, snapshot: &change.snapshot, rules: &rules, outcome };
        self.unmatched.observe(&cycle, is_shipped, change.snapshot.taken_at); // rules that never find anything are reported too
        let transitions = self.alerts.apply(cycle, instant(&change)); // pending, firing, recovering, resolved
        self.dispatcher.record_judged(&plugin, &change.snapshot, &self.alerts); // no plugin's report alone holds other alerts back
        self.settle(transitions).await;
        self.unmatched.store_if_due(&self.store, self.clock.monotonic()).await;
    }

    /// Stores, shows and sends the changes of alerts, in this order.
    pub(super) async fn settle(&mut self, transitions: Vec<Transition>) {
        let now = self.clock.now();
        transitions.iter().for_each(|transition| self.dispatcher.observe(transition, now));
        let release = self.dispatcher.release(&self.alerts, |receiver| self.receivers.has_room(receiver), now); // which receivers get what
        let notifications = self.receivers.number(release.rows);
        self.store_changes(&transitions, &release.withheld, &notifications).await; // durable before any receiver gets it
        self.board.show_alerts(self.alerts.shared_alerts(), self.dispatcher.acknowledgements(), self.dispatcher.silences());
        self.count(&transitions, &release.withheld);
        self.receivers.send(notifications); // bounded; never delays collection
    }

    /// Stores all changes in one transaction. If that fails, notifications are sent all the same, and the next change stores them.
    async fn store_changes(&mut self, transitions: &[Transition], withheld: &[Withheld], notifications: &[Numbered]) {
        let (changes, dispatch) = (self.alerts.take_changes(), self.dispatcher.take_changes());
        if changes.is_empty() && dispatch.is_empty() && transitions.is_empty() && notifications.is_empty() {
            return;
        }
        let mut rows = AlertChanges::new(&changes.upserts, &changes.removed, changes.next_incident);
        let now_ms = self.clock.wall_ms();
        rows.events = transitions.iter().map(transition_event).collect();
        rows.events.extend(withheld.iter().map(|withheld| withheld_event(withheld, now_ms)));
        rows.audit = transitions.iter().map(transition_entry).collect();
        rows.dispatch = dispatch.clone();
        rows.notifications = notifications.to_vec();
        rows.now_ms = now_ms;
        if let Err(err) = self.store.save_alerts(rows).await {
            error!(error = chain(&err), "alerts could not be stored; they are sent all the same and stored with the next change");
            self.alerts.give_back(changes);
            self.dispatcher.give_back(dispatch);
        }
        upkeep::show(&self.store, &self.board, &self.metrics);
    }

    fn count(&self, transitions: &[Transition], withheld: &[Withheld]) {
        for withheld in withheld {
            self.metrics.add("pharos_notifications_suppressed_total", &[&withheld.receiver, withheld.why.reason().as_str()], 1.0);
        }
        for transition in transitions {
            self.metrics.add("pharos_alert_transitions_total", &[transition.to.as_str()], 1.0);
            let alert = &transition.alert;
            info!(
                fingerprint = %transition.fingerprint,
                subject = %alert.subject.key(),
                severity = %transition.severity,
                state = %transition.to,
                value = alert.value,
                "{}: {}",
                transition.reason,
                alert.title
            );
        }
    }

    /// Records a plugin's change, and has its subjects judged again.
    pub(super) async fn on_plugin_event(&mut self, event: PluginEvent, rounds: &mut Rounds) {
        match event.kind {
            PluginEventKind::Removed => {
                self.alerts.freeze_plugin(&event.plugin, "its file was removed", self.clock.now());
                self.unmatched.remove_plugin(&event.plugin);
                self.settle(Vec::new()).await;
            }
            PluginEventKind::Loaded | PluginEventKind::RolledBack => {
                self.resolve_dropped_rules(&event.plugin).await;
                rounds.judge_again(&event.plugin, &self.board.picture(), &self.plugins);
            }
            PluginEventKind::Refused | PluginEventKind::Quarantined | PluginEventKind::Recovered => {}
        }
        if let Err(err) = self.store.record_event(plugin_event(event, self.clock.wall_ms())).await {
            error!(error = chain(&err), "an event could not be stored");
        }
    }

    /// Resolves alerts of rules that the plugin's present generation does not have, for every kind of subject.
    async fn resolve_dropped_rules(&mut self, plugin: &str) {
        // The plugin may be removed already: then its alerts freeze.
        let Some(rules) = self.plugins.rules(plugin) else { return };
        self.unmatched.retain_rules(plugin, &rules);
        let of_plugin = self.alerts.alerts().filter(|alert| alert.plugin == plugin);
        let dropped: BTreeSet<String> = of_plugin.map(|alert| alert.rule.clone()).filter(|rule| !rules.contains(rule)).collect();
        let now = self.clock.now();
        let transitions = dropped.iter().flat_map(|rule| self.alerts.rule_removed(plugin, rule, now)).collect();
        self.settle(transitions).await;
    }

    /// Removes alerts of subjects that are no longer configured and of plugins that are turned off. All others wait for their first
    /// evaluation.
    pub(crate) async fn remove_unconfigured(&mut self, is_watched: impl Fn(&SubjectKey) -> bool, is_enabled: impl Fn(&str) -> bool) {
        let subjects: BTreeSet<SubjectKey> =
            self.alerts.plugins_and_subjects().map(|(_, subject)| subject.clone()).filter(|key| !is_watched(key)).collect();
        let plugins: BTreeSet<String> =
            self.alerts.plugins_and_subjects().map(|(plugin, _)| plugin.to_owned()).filter(|id| !is_enabled(id)).collect();
        let now = self.clock.now();
        let mut transitions: Vec<Transition> = subjects.iter().flat_map(|key| self.alerts.subject_removed(key, now)).collect();
        transitions.extend(plugins.iter().flat_map(|id| self.alerts.plugin_removed(id, now)));
        self.settle(transitions).await;
    }
}

/// Time of the judged snapshot. Judging it again adds no time.
fn instant(change: &Change) -> Now {
    Now { monotonic: change.snapshot.taken_at, wall_ms: change.snapshot.taken_at_ms }
}
