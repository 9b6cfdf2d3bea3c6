//! From bytes to a generation: validate, compile, link, describe, check settings, declare, canary. Each step can refuse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pharos_model::delta::Change;
use pharos_model::finding::{RuleSpec, Unmet, collected, unmet};
use pharos_model::metric::KINDS;
use pharos_model::snapshot::Snapshot;
use pharos_model::text;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tracing::info;
use wasmtime::Engine;

use super::budget::Budgets;
use super::compile::{CompileError, Compiler};
use super::context::PluginContext;
use super::egress::EgressPolicy;
use super::generation::{self, Description, Generation, Linkers, warn_repairs};
use super::instance::CallError;
use super::mail::MailPolicy;
use super::schema::Schema;
use super::settings::{self, SettingsError};
use super::state::StateAccess;
use super::validate::{self, ValidateError, World};
use crate::clock::Clock;
use crate::config::notify::ReceiverConfig;
use crate::config::plugins::{Grants, PluginConfig};
use crate::config::relay::RelayConfig;
use crate::config::secret::SecretSource;
use crate::config::shape::did_you_mean;
use crate::telemetry::logs::chain;
use crate::telemetry::metrics::SelfMetrics;

/// A version is a label of a metric.
const VERSION_BYTES_MAX: usize = 64;
/// Warnings that are shown of one plugin; more would only repeat themselves.
const WARNINGS_MAX: usize = 20;
/// Far above what a schema within its bounds takes, on a busy machine.
const SETTINGS_CHECK_MAX: Duration = Duration::from_secs(30);

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

/// Why a file was refused. The stage is where.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the file {0}")]
    Validate(#[from] ValidateError),
    #[error("compiling")]
    Compile(#[from] CompileError),
    #[error("linking: {0}")]
    Link(String),
    #[error("asking it what it is: it {0}")]
    Describe(CallError),
    #[error("it says its id is \"{said}\", but its file is named \"{file}\"; the two must be equal")]
    OtherId { said: String, file: String },
    #[error("its version is not 1 to {VERSION_BYTES_MAX} printable characters")]
    Version,
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("its init with the present settings {0}")]
    Init(CallError),
    #[error("the trial run on the latest snapshot {0}")]
    Canary(CallError),
}

impl LoadError {
    /// A closed set: where it was refused.
    pub fn stage(&self) -> &'static str {
        match self {
            Self::Validate(_) => "validate",
            Self::Compile(_) => "compile",
            Self::Link(_) => "link",
            Self::Describe(_) | Self::OtherId { .. } | Self::Version => "describe",
            Self::Settings(_) => "settings",
            Self::Init(_) => "init",
            Self::Canary(_) => "canary",
        }
    }

    pub fn text(&self) -> String {
        chain(self)
    }
}

/// Work that takes long, on a thread that may: the runtime's few threads serve everybody.
pub async fn aside<T: Send + 'static>(tasks: &TaskTracker, work: impl FnOnce() -> T + Send + 'static) -> T {
    match tasks.spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime has ended, and polls nothing again.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Names a content: hex SHA-256.
pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Loader {
    /// Loads a plugin file and tries it on `latest` snapshots; an empty one stands in for a kind that was not collected yet.
    pub async fn load(&self, id: &str, bytes: &Bytes, digest: String, latest: &[Arc<Change>]) -> Result<Generation, LoadError> {
        let looked_at = bytes.clone();
        let inspection = aside(&self.tasks, move || validate::inspect(&looked_at)).await?;
        let component = self.compiler.component(&self.engine, bytes, &digest, &self.tasks).await?;
        let pre = self.linkers.link(inspection.world, &component).map_err(|err| LoadError::Link(format!("{err:#}")))?;
        let config = self.plugins.get(id).cloned().unwrap_or_default();
        let budgets = match inspection.world {
            World::AlertRule => Budgets::alert_rule(&config.limits),
            World::Notifier => Budgets::notifier(&config.limits),
        };
        let egress = EgressPolicy::new(id, &config.grants, &self.secrets, self.tasks.clone(), self.clock);
        let mail = MailPolicy::new(id, &config.grants, &self.relays, budgets.call.wall, self.clock);
        let context = PluginContext::new(id.to_owned(), Arc::clone(&self.metrics), self.state.clone(), egress, mail, self.clock);
        let context = Arc::new(context);
        let own = settings::to_json(&config.settings);
        let settings: Arc<str> = own.to_string().into();
        let description = generation::describe(&pre, &context, Arc::clone(&settings), budgets).await.map_err(LoadError::Describe)?;
        if description.id != id {
            let said = text::line(&description.id, text::LINE_BYTES_MAX).into_owned();
            return Err(LoadError::OtherId { said, file: id.to_owned() });
        }
        let version = &description.version;
        if version.is_empty() || version.len() > VERSION_BYTES_MAX || !version.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LoadError::Version);
        }
        self.say_ungranted(id, &config, &description.wants);
        let mut generation = Generation::new(digest, inspection.world, description, budgets, context, settings, pre);
        match inspection.world {
            World::AlertRule => self.try_alert_rule(id, &mut generation, &own, latest).await?,
            World::Notifier => self.try_notifier(id, &generation, &own).await?,
        }
        Ok(generation)
    }

    async fn try_alert_rule(&self, id: &str, generation: &mut Generation, own: &Value, latest: &[Arc<Change>]) -> Result<(), LoadError> {
        self.check_settings(format!("plugin.{id}.settings"), &generation.description, own).await?;
        generation.rules = generation.declare(Arc::clone(&generation.settings)).await.map_err(LoadError::Init)?;
        generation.warnings = warnings(&generation.rules);
        for change in canaries(generation, latest) {
            let (_, judged) = generation.evaluate(change).await;
            match judged {
                Ok(report) => warn_repairs(id, &report),
                Err(err) if err.is_offence() => return Err(LoadError::Canary(err)),
                Err(err) => info!(plugin = id, "the trial run of `{id}` {err}"),
            }
        }
        Ok(())
    }

    /// A notifier runs with each of its receivers' settings, so each of them is tried.
    async fn try_notifier(&self, id: &str, generation: &Generation, own: &Value) -> Result<(), LoadError> {
        for receiver in self.receivers.iter().filter(|receiver| receiver.plugin == id) {
            let merged = settings::overlay(own.clone(), settings::to_json(&receiver.settings));
            let section = format!("receiver \"{}\" settings", receiver.name);
            self.check_settings(section, &generation.description, &merged).await?;
            generation.declare(merged.to_string().into()).await.map_err(LoadError::Init)?;
        }
        // Without a receiver there is nothing to check, but the schema is kept.
        let schema = generation.description.settings_schema.clone();
        aside(&self.tasks, move || Schema::parse(&schema).map(drop)).await.map_err(SettingsError::from)?;
        Ok(())
    }

    /// The schema is the plugin's own, so the runtime's few threads do not work through it.
    async fn check_settings(&self, section: String, description: &Description, settings: &Value) -> Result<(), SettingsError> {
        let (schema, settings) = (description.settings_schema.clone(), settings.clone());
        let checking = aside(&self.tasks, move || settings::check(&section, &schema, &settings));
        tokio::time::timeout(SETTINGS_CHECK_MAX, checking).await.unwrap_or(Err(SettingsError::DeadlineExceeded(SETTINGS_CHECK_MAX)))
    }

    fn say_ungranted(&self, id: &str, config: &PluginConfig, wants: &[(String, String)]) {
        for (want, reason) in wants {
            if let Some(example) = ungranted(want, &config.grants) {
                info!(
                    plugin = id,
                    reason,
                    "`{id}` wants {want} and has no grant; to allow it, add to [plugin.{id}]: grants = {{ {want} = [\"{example}\"] }}"
                );
            }
        }
    }
}

/// What of the rules can never work.
fn warnings(rules: &[RuleSpec]) -> Vec<String> {
    let unmet = unmet(rules);
    let mut warnings: Vec<String> = unmet.iter().take(WARNINGS_MAX).map(with_hint).collect();
    if unmet.len() > WARNINGS_MAX {
        warnings.push(format!("{} more of its needs are not met either", unmet.len() - WARNINGS_MAX));
    }
    warnings
}

/// What a rule needs in vain, and what it may have meant.
fn with_hint(unmet: &Unmet) -> String {
    let hint = match &unmet.need {
        Some(need) => did_you_mean(need, collected(&unmet.kind)),
        None => did_you_mean(&unmet.kind, KINDS.into_iter()),
    };
    format!("{unmet}, so it can never match{hint}")
}

/// What a grant would name, if there is none of a wanted kind.
fn ungranted(want: &str, grants: &Grants) -> Option<&'static str> {
    match want {
        "egress" if grants.egress.is_empty() => Some("HOST"),
        "mail" if grants.mail.is_empty() => Some("RELAY"),
        _ => None,
    }
}

/// The latest snapshots that the rules are about, or an empty one of each kind.
fn canaries(generation: &Generation, latest: &[Arc<Change>]) -> Vec<Arc<Change>> {
    let mut kinds: Vec<&str> = generation.rules.iter().map(|rule| rule.subject_kind.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of_kind = |kind: &str| {
        let real: Vec<_> = latest.iter().filter(|change| change.snapshot.subject.kind == kind).cloned().collect();
        if real.is_empty() { vec![Arc::new(Change::first(Snapshot::empty(kind)))] } else { real }
    };
    kinds.into_iter().flat_map(of_kind).collect()
}
