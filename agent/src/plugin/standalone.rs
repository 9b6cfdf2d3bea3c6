//! A plugin without an agent: for its author, for the benchmark, and for tests of one delivery.

use std::sync::Arc;

use pharos_model::finding::{CheckedReport, RuleSpec};
use pharos_model::notification::{Delivery, Message};
use pharos_model::snapshot::Change;
use serde_json::Value;

use super::host::merged_settings;
use super::load::steps::Tried;
use super::run::blueprint::Description;
use super::run::call_error::CallError;
use super::run::engine::Ticker;
use super::run::generation::Generation;
use super::run::instance::Usage;
use super::world::notifier;

/// A loaded plugin with a single caller.
pub struct LoadedPlugin {
    generation: Generation,
    /// Proof that the plugin can be interrupted.
    _ticker: Ticker,
}

impl LoadedPlugin {
    /// A plugin that a [`Loader`](super::Loader) loaded, and the clock of the engine that it runs on.
    pub fn new(tried: Tried, ticker: Ticker) -> Self {
        Self { generation: tried.generation, _ticker: ticker }
    }

    pub fn description(&self) -> &Description {
        &self.generation.description
    }

    pub fn rules(&self) -> &[RuleSpec] {
        &self.generation.rules
    }

    /// Rules that can never match, in words.
    pub fn warnings(&self) -> &[String] {
        &self.generation.warnings
    }

    /// Judges one snapshot, whatever its age.
    pub async fn evaluate(&self, change: Arc<Change>) -> (Usage, Result<CheckedReport, CallError>) {
        self.generation.evaluate(change).await
    }

    /// Delivers one message, with the receiver's settings laid over the plugin's.
    pub async fn deliver(&self, receiver_settings: &Value, message: &Message) -> (Usage, Delivery) {
        let (usage, called) = self.generation.deliver(merged_settings(&self.generation, receiver_settings), message).await;
        (usage, notifier::delivery(called))
    }

    /// Makes an instance and drops it.
    pub async fn instantiate(&self) -> Result<(), CallError> {
        self.generation.blueprint.instantiate(Arc::clone(&self.generation.settings), &mut Usage::default()).await.map(drop)
    }
}
