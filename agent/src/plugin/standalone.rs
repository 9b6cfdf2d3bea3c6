//! A plugin outside an agent: for its author, for the benchmark, and for tests of one delivery.

use std::sync::Arc;

use pharos_model::finding::{CheckedReport, RuleSpec};
use pharos_model::snapshot::Change;

use super::run::call_error::CallError;
use super::run::engine::Ticker;
use super::run::generation::{Description, Generation};
use super::run::instance::Usage;

/// A loaded plugin that nobody else calls.
pub struct LoadedPlugin {
    generation: Generation,
    /// Keeps nothing alive but the knowledge that the plugin can be interrupted.
    _ticker: Ticker,
}

impl LoadedPlugin {
    /// What a [`Loader`](super::Loader) made, and the clock of the engine that it runs on.
    pub fn new(generation: Generation, ticker: Ticker) -> Self {
        Self { generation, _ticker: ticker }
    }

    pub(super) fn generation(&self) -> &Generation {
        &self.generation
    }

    pub fn description(&self) -> &Description {
        &self.generation.description
    }

    pub fn rules(&self) -> &[RuleSpec] {
        &self.generation.rules
    }

    /// What of it can never work, in words.
    pub fn warnings(&self) -> &[String] {
        &self.generation.warnings
    }

    /// Judges one snapshot, whatever its age.
    pub async fn evaluate(&self, change: Arc<Change>) -> (Usage, Result<CheckedReport, CallError>) {
        self.generation.evaluate(change).await
    }

    /// Makes an instance and drops it.
    pub async fn instantiate(&self) -> Result<(), CallError> {
        self.generation.instantiate().await.map(drop)
    }
}
