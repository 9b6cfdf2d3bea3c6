//! Alert rules: plugins that judge snapshots.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::finding::{CheckedReport, RuleSpec, check_rules};
use pharos_model::snapshot::Change;
use wasmtime::component::{InstancePre, Linker};

use super::definition::World;
use crate::plugin::contract::bindings::alert_rule::{AlertRulePlugin, AlertRulePluginIndices};
use crate::plugin::contract::convert;
use crate::plugin::import::imports::Data;
use crate::plugin::run::budget::Budget;
use crate::plugin::run::call_error::{CallError, Export};
use crate::plugin::run::generation::Generation;
use crate::plugin::run::instance::Usage;
use crate::plugin::run::linked::{InstanceState, Linked};
use crate::plugin::run::turns::SHARE;

/// The world `alert-rule-plugin`.
pub const ALERT_RULE: &dyn World = &AlertRule;

#[derive(Debug)]
struct AlertRule;

impl World for AlertRule {
    fn name(&self) -> &'static str {
        "alert-rule-plugin"
    }

    fn marker(&self) -> &'static str {
        "alert-rule"
    }

    fn imports(&self) -> &'static [&'static str] {
        &["types", "log", "telemetry", "config", "state", "snapshots"]
    }

    fn call_budget(&self) -> Budget {
        Budget { cpu: Duration::from_millis(50), wall: Duration::from_millis(500) }
    }

    /// Subjects that one plugin judges side by side.
    fn calls_max(&self) -> usize {
        SHARE
    }

    fn add_imports(&self, linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
        AlertRulePlugin::add_to_linker::<_, Data>(linker, InstanceState::imports)
    }

    fn link(&self, pre: InstancePre<InstanceState>) -> wasmtime::Result<Linked> {
        let exports = AlertRulePluginIndices::new(&pre)?;
        Linked::new(pre, move |store, instance| exports.load(store, instance))
    }

    fn declare<'a>(&'a self, generation: &'a Generation, settings: Arc<str>) -> BoxFuture<'a, Result<Vec<RuleSpec>, CallError>> {
        generation.declare_rules(settings).boxed()
    }

    fn try_on<'a>(&'a self, generation: &'a Generation, change: Arc<Change>) -> BoxFuture<'a, Result<(), CallError>> {
        async move {
            let about = change.snapshot.subject.key().to_string();
            let (_, judged) = generation.evaluate(change).await;
            judged.map(|report| generation.warn_repairs(&about, &report))
        }
        .boxed()
    }
}

impl Generation {
    /// Starts an instance with these settings and asks for its rules. The instance is retained for the first snapshot.
    async fn declare_rules(&self, settings: Arc<str>) -> Result<Vec<RuleSpec>, CallError> {
        let usage = &mut Usage::default();
        let instance = self.blueprint.start(settings, usage).await?;
        let (answer, instance) = instance
            .call_world(self.blueprint.at_start(Export::Rules), usage, |store, exports: &AlertRulePlugin| {
                exports.pharos_plugin_alert_rule().call_rules(store).boxed()
            })
            .await?;
        let rules = answer?;
        self.give_back(instance);
        check_rules(rules.into_iter().map(convert::rule).collect()).map_err(|err| CallError::Failed(err.to_string()))
    }

    /// Judges one snapshot.
    pub async fn evaluate(&self, change: Arc<Change>) -> (Usage, Result<CheckedReport, CallError>) {
        let mut usage = Usage::default();
        let report = self.call(Export::Evaluate, &mut usage, |store, exports: &AlertRulePlugin| {
            async move {
                let snapshot = store.data_mut().imports.handles.push_snapshot(change)?;
                exports.pharos_plugin_alert_rule().call_evaluate(store, snapshot).await
            }
            .boxed()
        });
        let report = report.await;
        (usage, report.map(|report| convert::report(report).checked(&self.rules)))
    }
}
