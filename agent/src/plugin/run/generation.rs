//! Generation: a loaded version of a plugin with its declarations, and the instances that answer for it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use pharos_model::finding::{CheckedReport, RuleSpec};
use tracing::warn;
use wasmtime::Store;

use super::blueprint::{Blueprint, Description};
use super::call_error::{CallError, Export};
use super::instance::{Instance, Usage};
use super::linked::InstanceState;
use super::repairs::Repairs;
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::types::Failure;
use crate::plugin::import::wrong_setting::IgnoredSetting;

/// Idle instances that are retained. A call takes one of them before it makes another, so a plugin never has more than it has turns.
const IDLE_MAX: usize = 4;

/// Answer of an export: its value, or the plugin's own failure.
type Answer<T> = Result<T, Failure>;

/// A loaded version of a plugin. Its declarations do not change once it serves.
pub struct Generation {
    /// Hex SHA-256 of its file.
    pub digest: String,
    pub description: Description,
    /// Rules that it declares. Empty if it does not judge snapshots.
    pub rules: Vec<RuleSpec>,
    /// Rules that can never work, in words.
    pub warnings: Vec<String>,
    /// Settings that it ignores, and receivers whose settings it refuses.
    pub ignored: Vec<IgnoredSetting>,
    /// Receivers' settings with which it cannot deliver.
    pub unusable: Vec<UnusableSettings>,
    pub blueprint: Blueprint,
    /// The plugin's own settings: a JSON object.
    pub settings: Arc<str>,
    idle: Mutex<Idle>,
    repairs: Repairs,
}

/// A receiver's settings that the plugin refuses.
pub struct UnusableSettings {
    /// A JSON object: the plugin's own settings, overlaid by the receiver's.
    pub settings: String,
    pub why: String,
}

/// Instances that wait for a call.
#[derive(Default)]
struct Idle {
    instances: Vec<Instance>,
    /// Another generation serves, so instances that come back are dropped.
    is_retired: bool,
}

impl Generation {
    pub fn new(digest: String, description: Description, blueprint: Blueprint, settings: Arc<str>) -> Self {
        Self {
            digest,
            description,
            rules: Vec::new(),
            warnings: Vec::new(),
            ignored: Vec::new(),
            unusable: Vec::new(),
            blueprint,
            settings,
            idle: Mutex::default(),
            repairs: Repairs::default(),
        }
    }

    /// Logs the repairs of a report about a subject that the report before did not need.
    pub fn warn_repairs(&self, about: &str, report: &CheckedReport) {
        let plugin = &self.description.id;
        for repair in self.repairs.begun(about, &report.repairs) {
            warn!(plugin, "repaired what `{plugin}` returned about {about}: {repair}");
        }
    }

    /// Calls an export of the plugin's world, in an instance that waits or in a new one with the plugin's own settings.
    pub async fn call<E: 'static, T>(
        &self,
        export: Export,
        usage: &mut Usage,
        call: impl for<'a> FnOnce(&'a mut Store<InstanceState>, &'a E) -> BoxFuture<'a, wasmtime::Result<Answer<T>>>,
    ) -> Result<T, CallError> {
        let idle = self.idle.lock().instances.pop();
        let instance = match idle {
            Some(instance) => instance,
            None => self.blueprint.start(Arc::clone(&self.settings), usage).await?,
        };
        let (answer, instance) = instance.call_world(self.blueprint.at_work(export), usage, call).await?;
        self.give_back(instance);
        Ok(answer?)
    }

    /// Calls an export of the plugin's world in an instance of its own, which has these settings.
    pub async fn call_with<E: 'static, T>(
        &self,
        settings: Arc<str>,
        export: Export,
        usage: &mut Usage,
        call: impl for<'a> FnOnce(&'a mut Store<InstanceState>, &'a E) -> BoxFuture<'a, wasmtime::Result<Answer<T>>>,
    ) -> Result<T, CallError> {
        let instance = self.blueprint.start(settings, usage).await?;
        let (answer, _) = instance.call_world(self.blueprint.at_work(export), usage, call).await?;
        Ok(answer?)
    }

    /// Retains an instance for the next call, unless it is worn or there are enough.
    pub fn give_back(&self, instance: Instance) {
        let mut idle = self.idle.lock();
        if !idle.is_retired && idle.instances.len() < IDLE_MAX && !instance.is_worn() {
            idle.instances.push(instance);
        }
    }

    /// Drops its idle instances and retains no more, since another generation serves.
    pub fn retire(&self) {
        *self.idle.lock() = Idle { instances: Vec::new(), is_retired: true };
    }

    /// Retains idle instances again, since this generation serves again.
    pub fn revive(&self) {
        self.idle.lock().is_retired = false;
    }
}
