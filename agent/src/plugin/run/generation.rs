//! One loaded version of a plugin: what it declared, and the instances that answer for it.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use pharos_model::finding::{CheckedReport, RuleSpec, check_rules};
use pharos_model::snapshot::Change;
use pharos_model::text;
use serde::Serialize;
use tracing::warn;
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

use super::budget::Budgets;
use super::call_error::{CallError, Export};
use super::instance::{Exports, Instance, Usage};
use super::repairs::Repaired;
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::types::Failure;
use crate::plugin::contract::bindings::alert_rule::{AlertRulePlugin, AlertRulePluginPre};
use crate::plugin::contract::bindings::notifier::exports::pharos::plugin::notifier as wit_notifier;
use crate::plugin::contract::bindings::notifier::{NotifierPlugin, NotifierPluginPre};
use crate::plugin::contract::convert;
use crate::plugin::host::lock;
use crate::plugin::import::context::PluginContext;
use crate::plugin::import::imports::{Data, HostState};
use crate::plugin::load::trial::Ignored;
use crate::plugin::load::validate::World;

/// Idle instances that are kept. A call takes one of them before it makes another, so a plugin never has more than it has turns.
const IDLE_MAX: usize = 4;

/// The linkers of both worlds, made once per engine.
pub struct Linkers {
    alert_rule: Linker<HostState>,
    notifier: Linker<HostState>,
}

impl Linkers {
    pub fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut alert_rule = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut alert_rule)?;
        AlertRulePlugin::add_to_linker::<_, Data>(&mut alert_rule, |state| state)?;
        let mut notifier = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut notifier)?;
        NotifierPlugin::add_to_linker::<_, Data>(&mut notifier, |state| state)?;
        Ok(Self { alert_rule, notifier })
    }

    /// Links a component; an import that nobody provides is an error here.
    pub fn link(&self, world: World, component: &Component) -> wasmtime::Result<Pre> {
        Ok(match world {
            World::AlertRule => Pre::AlertRule(AlertRulePluginPre::new(self.alert_rule.instantiate_pre(component)?)?),
            World::Notifier => Pre::Notifier(NotifierPluginPre::new(self.notifier.instantiate_pre(component)?)?),
        })
    }
}

/// A linked component, ready to be instantiated.
pub enum Pre {
    AlertRule(AlertRulePluginPre<HostState>),
    Notifier(NotifierPluginPre<HostState>),
}

impl Pre {
    pub fn engine(&self) -> &Engine {
        match self {
            Self::AlertRule(pre) => pre.engine(),
            Self::Notifier(pre) => pre.engine(),
        }
    }

    pub async fn instantiate(&self, store: &mut Store<HostState>) -> wasmtime::Result<Exports> {
        Ok(match self {
            Self::AlertRule(pre) => Exports::AlertRule(pre.instantiate_async(store).await?),
            Self::Notifier(pre) => Exports::Notifier(pre.instantiate_async(store).await?),
        })
    }
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    pub id: String,
    pub version: String,
    pub summary: String,
    pub settings_schema: String,
    /// Grants it wants, each with its reason.
    pub wants: Vec<(String, String)>,
}

impl Description {
    /// Makes what is only shown safe to show. Id, version and schema are checked where they are used.
    fn checked(mut self) -> Self {
        /// There are three kinds of grants.
        const WANTS_MAX: usize = 20;
        let line = |text: &str| text::line(text, text::LINE_BYTES_MAX).into_owned();
        self.summary = line(&self.summary);
        self.wants.truncate(WANTS_MAX);
        for (want, reason) in &mut self.wants {
            (*want, *reason) = (line(want), line(reason));
        }
        self
    }
}

/// Everything of a generation that does not change once it is loaded.
pub struct Generation {
    pub digest: String,
    pub world: World,
    pub description: Description,
    /// What it watches; empty for notifiers.
    pub rules: Vec<RuleSpec>,
    /// What of it can never work, in words.
    pub warnings: Vec<String>,
    /// Settings that it leaves out, and receivers whose settings it refuses, with their places in the config.
    pub ignored: Vec<Ignored>,
    /// Settings of receivers, as JSON, that it cannot deliver with, and why.
    pub unusable: Vec<(String, String)>,
    pub budgets: Budgets,
    pub context: Arc<PluginContext>,
    pub settings: Arc<str>,
    pub pre: Pre,
    idle: Mutex<Idle>,
    repaired: Repaired,
}

/// Instances that wait for a call.
#[derive(Default)]
struct Idle {
    instances: Vec<Instance>,
    /// The generation does not serve: what comes back is dropped.
    retired: bool,
}

impl Generation {
    pub fn new(
        digest: String,
        world: World,
        description: Description,
        budgets: Budgets,
        context: Arc<PluginContext>,
        settings: Arc<str>,
        pre: Pre,
    ) -> Self {
        Self {
            digest,
            world,
            description,
            rules: Vec::new(),
            warnings: Vec::new(),
            ignored: Vec::new(),
            unusable: Vec::new(),
            budgets,
            context,
            settings,
            pre,
            idle: Mutex::default(),
            repaired: Repaired::default(),
        }
    }

    /// Logs what had to be repaired in an answer about a subject, where that begins.
    pub fn warn_repairs(&self, about: &str, report: &CheckedReport) {
        let plugin = &self.description.id;
        for repair in self.repaired.take_in(about, &report.repairs) {
            warn!(plugin, "repaired what `{plugin}` returned about {about}: {repair}");
        }
    }

    /// A new instance before its `init`.
    pub async fn instantiate(&self) -> Result<Instance, CallError> {
        instantiate(&self.pre, &self.context, Arc::clone(&self.settings), self.budgets, &mut Usage::default()).await
    }

    /// A new instance after its `init`.
    async fn start(&self, settings: Arc<str>, usage: &mut Usage) -> Result<Instance, CallError> {
        let instance = instantiate(&self.pre, &self.context, settings, self.budgets, usage).await?;
        let (answer, instance) = instance
            .call(Export::Init, self.budgets.start, self.budgets.memory_bytes, usage, |store, exports| {
                async move {
                    match exports {
                        Exports::AlertRule(exports) => exports.pharos_plugin_plugin().call_init(store).await,
                        Exports::Notifier(exports) => {
                            let result = exports.pharos_plugin_plugin().call_init(store).await?;
                            Ok(result)
                        }
                    }
                }
                .boxed()
            })
            .await?;
        answer.map_err(|failure| of_failure(&failure))?;
        Ok(instance)
    }

    /// Starts an instance with these settings and asks an alert plugin for its rules.
    pub async fn declare(&self, settings: Arc<str>) -> Result<Vec<RuleSpec>, CallError> {
        let usage = &mut Usage::default();
        let instance = self.start(settings, usage).await?;
        if self.world != World::AlertRule {
            return Ok(Vec::new());
        }
        let (answer, instance) = instance
            .call(Export::Rules, self.budgets.start, self.budgets.memory_bytes, usage, |store, exports| {
                async move {
                    match exports {
                        Exports::AlertRule(exports) => exports.pharos_plugin_alert_rule().call_rules(store).await,
                        Exports::Notifier(_) => Ok(Ok(Vec::new())),
                    }
                }
                .boxed()
            })
            .await?;
        let rules = answer.map_err(|failure| of_failure(&failure))?;
        self.give_back(instance);
        check_rules(rules.into_iter().map(convert::rule).collect()).map_err(|err| CallError::Failed(err.to_string()))
    }

    /// Judges one snapshot.
    pub async fn evaluate(&self, change: Arc<Change>) -> (Usage, Result<CheckedReport, CallError>) {
        let mut usage = Usage::default();
        let result = self.evaluated(change, &mut usage).await;
        (usage, result)
    }

    async fn evaluated(&self, change: Arc<Change>, usage: &mut Usage) -> Result<CheckedReport, CallError> {
        let instance = self.take(usage).await?;
        let (answer, instance) = instance
            .call(Export::Evaluate, self.budgets.call, self.budgets.memory_bytes, usage, |store, exports| {
                async move {
                    let Exports::AlertRule(exports) = exports else { return Err(wasmtime::Error::msg("exports another world")) };
                    let snapshot = store.data_mut().handles.snapshot(change)?;
                    exports.pharos_plugin_alert_rule().call_evaluate(store, snapshot).await
                }
                .boxed()
            })
            .await?;
        self.give_back(instance);
        let report = answer.map_err(|failure| of_failure(&failure))?;
        Ok(convert::report(report).checked(&self.rules))
    }

    /// Delivers one message with a receiver's settings, in an instance of its own.
    pub async fn deliver(&self, settings: Arc<str>, message: wit_notifier::Message) -> (Usage, Result<wit_notifier::Outcome, CallError>) {
        let mut usage = Usage::default();
        let result = self.delivered(settings, message, &mut usage).await;
        (usage, result)
    }

    async fn delivered(
        &self,
        settings: Arc<str>,
        message: wit_notifier::Message,
        usage: &mut Usage,
    ) -> Result<wit_notifier::Outcome, CallError> {
        let instance = self.start(settings, usage).await?;
        let (answer, _) = instance
            .call(Export::Deliver, self.budgets.call, self.budgets.memory_bytes, usage, |store, exports| {
                async move {
                    let Exports::Notifier(exports) = exports else { return Err(wasmtime::Error::msg("exports another world")) };
                    exports.pharos_plugin_notifier().call_deliver(store, &message).await
                }
                .boxed()
            })
            .await?;
        answer.map(convert::outcome).map_err(|failure| of_failure(&failure))
    }

    async fn take(&self, usage: &mut Usage) -> Result<Instance, CallError> {
        let idle = lock(&self.idle).instances.pop();
        match idle {
            Some(instance) => Ok(instance),
            None => self.start(Arc::clone(&self.settings), usage).await,
        }
    }

    fn give_back(&self, instance: Instance) {
        let mut idle = lock(&self.idle);
        if !idle.retired && idle.instances.len() < IDLE_MAX && !instance.is_worn() {
            idle.instances.push(instance);
        }
    }

    /// Gives up its idle instances and keeps no more, since another generation serves.
    pub fn retire(&self) {
        *lock(&self.idle) = Idle { instances: Vec::new(), retired: true };
    }

    /// Serves again.
    pub fn revive(&self) {
        lock(&self.idle).retired = false;
    }
}

/// A new instance before its `init`.
async fn instantiate(
    pre: &Pre,
    context: &Arc<PluginContext>,
    settings: Arc<str>,
    budgets: Budgets,
    usage: &mut Usage,
) -> Result<Instance, CallError> {
    let state = HostState::new(Arc::clone(context), settings, budgets.memory_bytes);
    Instance::start(pre, state, budgets.start, budgets.memory_bytes, usage).await
}

/// Asks a component what it is.
pub async fn describe(pre: &Pre, context: &Arc<PluginContext>, settings: Arc<str>, budgets: Budgets) -> Result<Description, CallError> {
    let usage = &mut Usage::default();
    let instance = instantiate(pre, context, settings, budgets, usage).await?;
    let (description, _) = instance
        .call(Export::Describe, budgets.start, budgets.memory_bytes, usage, |store, exports| {
            async move {
                Ok(match exports {
                    Exports::AlertRule(exports) => {
                        let said = exports.pharos_plugin_plugin().call_describe(store).await?;
                        Description {
                            id: said.id,
                            version: said.version,
                            summary: said.summary,
                            settings_schema: said.settings_schema,
                            wants: said.wants,
                        }
                    }
                    Exports::Notifier(exports) => {
                        let said = exports.pharos_plugin_plugin().call_describe(store).await?;
                        Description {
                            id: said.id,
                            version: said.version,
                            summary: said.summary,
                            settings_schema: said.settings_schema,
                            wants: said.wants,
                        }
                    }
                })
            }
            .boxed()
        })
        .await?;
    Ok(description.checked())
}

/// The host acts on a failure's case; only `internal` is the plugin's own fault.
fn of_failure(failure: &Failure) -> CallError {
    let text = convert::failure(failure);
    match failure {
        Failure::Internal(_) => CallError::Failed(text),
        Failure::InvalidConfig(_) | Failure::Denied(_) => CallError::Refused(text),
        Failure::Unsupported(_) | Failure::Transient(_) => CallError::Excused(text),
    }
}
