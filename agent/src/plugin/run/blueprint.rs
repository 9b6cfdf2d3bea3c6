//! Blueprint of a generation: everything from which its instances are made.

use std::sync::Arc;

use futures_util::FutureExt;
use pharos_model::text;

use super::budget::Budgets;
use super::call_error::{CallError, Export};
use super::instance::{Entry, Instance, Usage};
use super::linked::{InstanceState, Linked};
use crate::plugin::import::context::PluginContext;
use crate::plugin::import::imports::Imports;

/// Makes instances of one version of a plugin.
pub struct Blueprint {
    pub linked: Linked,
    pub context: Arc<PluginContext>,
    pub budgets: Budgets,
}

/// A plugin's own words about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub id: String,
    pub version: String,
    pub summary: String,
    /// A JSON Schema.
    pub settings_schema: String,
    /// Grants that the plugin wants, each with its reason.
    pub wants: Vec<(String, String)>,
}

impl Description {
    /// Makes safe to show what is only shown. Id, version and schema are checked where they are used.
    fn checked(mut self) -> Self {
        /// Most wishes that are shown. There are three kinds of grants, so more would be noise.
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

impl Blueprint {
    /// Budget of a call that prepares an instance for its work.
    pub fn at_start(&self, export: Export) -> Entry {
        Entry { export, budget: self.budgets.start }
    }

    /// Budget of a call for which the plugin is there.
    pub fn at_work(&self, export: Export) -> Entry {
        Entry { export, budget: self.budgets.call }
    }

    /// A new instance before its `init`.
    pub async fn instantiate(&self, settings: Arc<str>, usage: &mut Usage) -> Result<Instance, CallError> {
        let imports = Imports::new(Arc::clone(&self.context), settings);
        Instance::start(&self.linked, InstanceState::new(imports, self.budgets.memory_bytes), self.budgets.start, usage).await
    }

    /// A new instance after its `init`.
    pub async fn start(&self, settings: Arc<str>, usage: &mut Usage) -> Result<Instance, CallError> {
        let instance = self.instantiate(settings, usage).await?;
        let (answer, instance) = instance
            .call_plugin(self.at_start(Export::Init), usage, |store, plugin| plugin.pharos_plugin_plugin().call_init(store).boxed())
            .await?;
        answer?;
        Ok(instance)
    }

    /// Asks the component for its description, in an instance that is dropped afterwards.
    pub async fn describe(&self, settings: Arc<str>) -> Result<Description, CallError> {
        let usage = &mut Usage::default();
        let instance = self.instantiate(settings, usage).await?;
        let (said, _) = instance
            .call_plugin(self.at_start(Export::Describe), usage, |store, plugin| plugin.pharos_plugin_plugin().call_describe(store).boxed())
            .await?;
        let description = Description {
            id: said.id,
            version: said.version,
            summary: said.summary,
            settings_schema: said.settings_schema,
            wants: said.wants,
        };
        Ok(description.checked())
    }
}
