//! The loader, and the first half of its work: from bytes to a generation that described itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pharos_model::text;
use serde_json::Value;
use tokio_util::task::TaskTracker;
use wasmtime::Engine;

use super::blocking::run_blocking;
use super::compile::Compiler;
use super::grants::log_ungranted;
use super::linkers::Linkers;
use super::load_error::{LoadError, VERSION_BYTES_MAX};
use super::settings;
use super::validate;
use crate::clock::Clock;
use crate::config::notify::ReceiverConfig;
use crate::config::plugins::PluginConfig;
use crate::config::relay::RelayConfig;
use crate::config::secret::SecretSource;
use crate::plugin::import::context::{Capabilities, PluginContext};
use crate::plugin::import::egress::EgressPolicy;
use crate::plugin::import::mail::MailPolicy;
use crate::plugin::import::state::StateAccess;
use crate::plugin::run::blueprint::{Blueprint, Description};
use crate::plugin::run::budget::Budgets;
use crate::plugin::run::generation::Generation;
use crate::plugin::world::World;
use crate::telemetry::metrics::SelfMetrics;

/// Everything that loading needs besides the file.
pub struct Loader {
    pub engine: Engine,
    pub linkers: Linkers,
    pub compiler: Compiler,
    pub plugins: BTreeMap<String, PluginConfig>,
    pub receivers: Vec<ReceiverConfig>,
    pub secrets: BTreeMap<String, SecretSource>,
    pub relays: BTreeMap<String, RelayConfig>,
    pub state: StateAccess,
    pub metrics: Arc<SelfMetrics>,
    pub clock: Clock,
    pub tasks: TaskTracker,
}

/// A generation that described itself and has not seen its settings yet.
pub(crate) struct Prepared {
    pub world: &'static dyn World,
    pub generation: Generation,
    /// The plugin's own settings: a JSON object.
    pub settings: Value,
}

/// Names a content: hex SHA-256.
pub fn digest(bytes: &[u8]) -> String {
    text::sha256(bytes)
}

impl Loader {
    /// Validates, compiles and links a file, and asks the component for its description.
    pub(super) async fn prepare(&self, id: &str, bytes: &Bytes, digest: String) -> Result<Prepared, LoadError> {
        let inspected = bytes.clone();
        let world = run_blocking(&self.tasks, move || validate::inspect(&inspected)).await?.world;
        let component = self.compiler.component(&self.engine, bytes, &digest, &self.tasks).await?;
        let linked = self.linkers.link(world, &component).map_err(|err| LoadError::Link(format!("{err:#}")))?;
        let config = self.plugins.get(id).cloned().unwrap_or_default();
        let budgets = Budgets::new(&config.limits, world.call_budget());
        let context = Arc::new(self.context(id, &config, &budgets));
        let blueprint = Blueprint { linked, context, budgets };
        let own = settings::to_json(&config.settings);
        let settings: Arc<str> = own.to_string().into();
        let description = blueprint.describe(Arc::clone(&settings)).await.map_err(LoadError::Describe)?;
        check_identity(id, &description)?;
        if !world.runs_per_receiver() || self.receivers.iter().any(|receiver| receiver.plugin == id) {
            log_ungranted(id, &config, &description.wants);
        }
        Ok(Prepared { world, generation: Generation::new(digest, description, blueprint, settings), settings: own })
    }

    fn context(&self, id: &str, config: &PluginConfig, budgets: &Budgets) -> PluginContext {
        let capabilities = Capabilities {
            state: self.state.clone(),
            egress: EgressPolicy::new(id, &config.grants, &self.secrets, self.tasks.clone(), self.clock),
            mail: MailPolicy::new(id, &config.grants, &self.relays, budgets.call.wall, self.clock),
        };
        PluginContext::new(id.to_owned(), capabilities, Arc::clone(&self.metrics), self.clock)
    }
}

/// Refuses a plugin that is named otherwise than its file, or has a version that no metric can have as a label.
fn check_identity(id: &str, description: &Description) -> Result<(), LoadError> {
    if description.id != id {
        let described = text::line(&description.id, text::LINE_BYTES_MAX).into_owned();
        return Err(LoadError::OtherId { id: described, file: id.to_owned() });
    }
    let version = &description.version;
    if version.is_empty() || version.len() > VERSION_BYTES_MAX || !version.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(LoadError::Version);
    }
    Ok(())
}
