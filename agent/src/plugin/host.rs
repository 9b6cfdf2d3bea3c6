//! The plugin host: which plugin serves under which id, and all calls into plugins.
//!
//! Invariant: no plugin can hang, crash, fill or spy on the agent, nor delay another plugin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pharos_model::alert::Outcome;
use pharos_model::finding::RuleSpec;
use pharos_model::notification::{Delivery, Message};
use pharos_model::snapshot::Change;
use pharos_model::subject::SubjectKind;
use serde_json::Value;
use tokio::sync::mpsc;

use super::event::PluginEvent;
use super::load::settings::overlay;
use super::run::callee::Callee;
use super::run::engine::Ticker;
use super::run::generation::Generation;
use super::run::turns::Turns;
use super::slot::{Loaded, Origin, Slot};
use super::world::alert_rule::ALERT_RULE;
use super::world::notifier::{self, NOTIFIER};
use crate::clock::Clock;
use crate::telemetry::metrics::SelfMetrics;

/// Judgement of one plugin about one snapshot.
#[derive(Debug)]
pub struct Judgement {
    pub plugin: String,
    /// Number of the generation that judged.
    number: u64,
    pub rules: Vec<RuleSpec>,
    pub outcome: Outcome,
    /// The plugin is one of those inside this binary.
    pub is_shipped: bool,
}

/// A handle on all plugins; cheap to clone.
#[derive(Clone)]
pub struct PluginHost {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    slots: Mutex<BTreeMap<String, Slot>>,
    turns: Turns,
    pub(super) ticker: Ticker,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<SelfMetrics>,
    pub(super) events: mpsc::Sender<PluginEvent>,
    pub(super) probation: Duration,
}

impl PluginHost {
    /// A host without plugins. `events` gets every change of a plugin's state.
    pub fn new(ticker: Ticker, clock: Clock, metrics: Arc<SelfMetrics>, events: mpsc::Sender<PluginEvent>, probation: Duration) -> Self {
        let shared = Shared { slots: Mutex::default(), turns: Turns::new(), ticker, clock, metrics, events, probation };
        Self { shared: Arc::new(shared) }
    }

    /// Ids of the plugins that have rules for subjects of this kind.
    pub fn judges_of(&self, kind: &SubjectKind) -> Vec<String> {
        let slots = self.slots();
        let watching = slots.iter().filter(|(_, slot)| slot.active.as_ref().is_some_and(|active| watches(active, kind)));
        watching.map(|(id, _)| id.clone()).collect()
    }

    /// Ids of the rules that a plugin declares now; `None` if it does not serve any more.
    pub fn rules(&self, plugin: &str) -> Option<Vec<String>> {
        let active = self.active(plugin)?;
        Some(active.generation.rules.iter().map(|rule| rule.id.clone()).collect())
    }

    /// Lets one plugin judge a snapshot. `None` if it does not serve or has no rules for the subject's kind.
    pub async fn judge_by(&self, plugin: &str, change: &Arc<Change>) -> Option<Judgement> {
        let kind = &change.snapshot.subject.kind;
        let turn = self.shared.turns.acquire(plugin, ALERT_RULE.calls_max()).await;
        // Read after the wait, since another generation may serve by now.
        let active = self.active(plugin).filter(|active| watches(active, kind))?;
        let generation = active.generation;
        let about = change.snapshot.subject.key().to_string();
        let called =
            self.call(Callee { plugin, about: &about, generation: &generation }, turn, generation.evaluate(Arc::clone(change))).await;
        let outcome = match called {
            Ok(report) => {
                generation.warn_repairs(&about, &report);
                Outcome::Judged(report.report)
            }
            Err(err) => Outcome::Failed(err.to_string()),
        };
        let rules = generation.rules.iter().filter(|rule| rule.subject_kind == *kind).cloned().collect();
        let is_shipped = active.origin == Origin::Embedded;
        Some(Judgement { plugin: plugin.to_owned(), number: active.number, rules, outcome, is_shipped })
    }

    /// Whether the generation that judged still serves.
    pub fn is_current(&self, judgement: &Judgement) -> bool {
        self.active(&judgement.plugin).is_some_and(|active| active.number == judgement.number)
    }

    /// Whether a notifier of this id is loaded; it may be quarantined.
    pub fn serves_notifier(&self, plugin: &str) -> bool {
        self.active(plugin).is_some_and(|active| active.world == NOTIFIER)
    }

    /// Delivers one message through a notifier, with the receiver's settings laid over the plugin's.
    pub async fn deliver(&self, plugin: &str, receiver_settings: &Value, message: &Message) -> Delivery {
        let turn = self.shared.turns.acquire(plugin, NOTIFIER.calls_max()).await;
        let Some(active) = self.active(plugin).filter(|active| active.world == NOTIFIER) else {
            return Delivery::Unavailable(format!("no notifier plugin `{plugin}` serves"));
        };
        let generation = active.generation;
        let settings = merged_settings(&generation, receiver_settings);
        if let Some(unusable) = generation.unusable.iter().find(|unusable| *unusable.settings == *settings) {
            return Delivery::Unavailable(unusable.why.clone());
        }
        let about = format!("receiver {}", message.receiver);
        notifier::delivery(
            self.call(Callee { plugin, about: &about, generation: &generation }, turn, generation.deliver(settings, message)).await,
        )
    }

    /// The generation that serves an id.
    fn active(&self, plugin: &str) -> Option<Loaded> {
        self.slots().get(plugin)?.active.clone()
    }

    /// Every slot, by plugin id.
    pub(super) fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.shared.slots.lock()
    }
}

/// The plugin's own settings, overlaid by a receiver's: a JSON object.
pub(super) fn merged_settings(generation: &Generation, receiver_settings: &Value) -> Arc<str> {
    let own: Value = serde_json::from_str(&generation.settings).unwrap_or_default();
    overlay(own, receiver_settings.clone()).to_string().into()
}

/// Whether a generation has rules for subjects of this kind.
fn watches(active: &Loaded, kind: &SubjectKind) -> bool {
    active.world == ALERT_RULE && active.generation.rules.iter().any(|rule| rule.subject_kind == *kind)
}
