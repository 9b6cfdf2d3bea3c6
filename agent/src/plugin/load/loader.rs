//! From bytes to a generation: validate, compile, link, describe, check settings, declare, canary. Each step can refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use pharos_model::finding::{RuleSpec, Unmet, collected, unmet};
use pharos_model::snapshot::Change;
use pharos_model::snapshot::Snapshot;
use pharos_model::subject::SubjectKind;
use pharos_model::text;
use serde_json::Value;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use tracing::info;
use wasmtime::Engine;

use super::compile::{CompileError, Compiler};
use super::schema::Schema;
use super::settings::{self, SettingsError};
use super::trial::{Ignored, Refused};
use super::validate::{self, ValidateError, World};
use crate::clock::Clock;
use crate::config::notify::ReceiverConfig;
use crate::config::plugins::{Grants, PluginConfig};
use crate::config::relay::RelayConfig;
use crate::config::secret::SecretSource;
use crate::config::shape::did_you_mean;
use crate::plugin::import::context::PluginContext;
use crate::plugin::import::egress::EgressPolicy;
use crate::plugin::import::mail::MailPolicy;
use crate::plugin::import::state::StateAccess;
use crate::plugin::run::budget::Budgets;
use crate::plugin::run::call_error::CallError;
use crate::plugin::run::generation::{self, Generation, Linkers};
use crate::telemetry::logs::chain;
use crate::telemetry::metrics::SelfMetrics;

/// A version is a label of a metric.
const VERSION_BYTES_MAX: usize = 64;
/// Warnings that are shown of one plugin; more would only repeat themselves.
const WARNINGS_MAX: usize = 20;

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
    #[error("its start with the present settings: {0}")]
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

    /// What the plugin wrote to standard error before it was stopped: text of several lines.
    pub fn last_words(&self) -> Option<&str> {
        match self {
            Self::Describe(err) | Self::Init(err) | Self::Canary(err) => err.last_words(),
            _ => None,
        }
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
    text::sha256(bytes)
}

impl Loader {
    /// Loads a plugin file and tries it on `latest` snapshots; an empty one stands in for a kind that was not collected yet.
    pub async fn load(&self, id: &str, bytes: &Bytes, digest: String, latest: &[Arc<Change>]) -> Result<Generation, LoadError> {
        let (mut generation, own) = self.prepare(id, bytes, digest).await?;
        match generation.world {
            World::AlertRule => self.try_alert_rule(id, &mut generation, &own, latest).await?,
            World::Notifier => self.try_notifier(id, &mut generation, &own).await?,
        }
        Ok(generation)
    }

    /// A generation that said what it is, and the plugin's own settings, which it has not seen yet.
    pub(super) async fn prepare(&self, id: &str, bytes: &Bytes, digest: String) -> Result<(Generation, Value), LoadError> {
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
        if inspection.world != World::Notifier || self.receivers.iter().any(|receiver| receiver.plugin == id) {
            self.say_ungranted(id, &config, &description.wants);
        }
        Ok((Generation::new(digest, inspection.world, description, budgets, context, settings, pre), own))
    }

    async fn try_alert_rule(&self, id: &str, generation: &mut Generation, own: &Value, latest: &[Arc<Change>]) -> Result<(), LoadError> {
        let section = format!("plugin.{id}.settings");
        let taken = self.try_settings(generation, own).await.map_err(|refused| refused.into_error(&section))?;
        generation.rules = taken.rules;
        generation.ignored = taken.ignored.iter().map(|wrong| Ignored::of(wrong, &section)).collect();
        generation.warnings = warnings(&generation.rules);
        for change in canaries(generation, latest) {
            let about = change.snapshot.subject.key().to_string();
            let (_, judged) = generation.evaluate(change).await;
            match judged {
                Ok(report) => generation.warn_repairs(&about, &report),
                Err(err) if err.is_offence() => return Err(LoadError::Canary(err)),
                Err(err) => info!(plugin = id, "the trial run of `{id}` {err}"),
            }
        }
        Ok(())
    }

    /// A notifier runs with each of its receivers' settings, so each of them is tried. One that is wrong keeps its messages until it is
    /// right, and the others get theirs; only where none is right the file is refused.
    async fn try_notifier(&self, id: &str, generation: &mut Generation, own: &Value) -> Result<(), LoadError> {
        let mut refused = Vec::new();
        let receivers: Vec<_> = self.receivers.iter().filter(|receiver| receiver.plugin == id).collect();
        for receiver in &receivers {
            let section = format!("receiver \"{}\" settings", receiver.name);
            let merged = settings::overlay(own.clone(), settings::to_json(&receiver.settings));
            match self.try_settings(generation, &merged).await {
                Ok(taken) => generation.ignored.extend(taken.ignored.iter().map(|wrong| Ignored::of(wrong, &section))),
                Err(Refused::Init(err)) if err.is_offence() => return Err(LoadError::Init(err)),
                Err(err) => refused.push((merged, section.clone(), err.into_error(&section))),
            }
        }
        if refused.len() == receivers.len() && !refused.is_empty() {
            return Err(refused.remove(0).2);
        }
        for (settings, place, err) in refused {
            generation.ignored.push(Ignored { place, text: err.text() });
            generation.unusable.push((settings.to_string(), err.text()));
        }
        // Without a receiver there is nothing to check, but the schema is kept.
        let schema = generation.description.settings_schema.clone();
        aside(&self.tasks, move || Schema::parse(&schema).map(drop)).await.map_err(SettingsError::from)?;
        Ok(())
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
pub(super) fn with_hint(unmet: &Unmet) -> String {
    let hint = match &unmet.need {
        Some(need) => did_you_mean(need, collected(&unmet.kind)),
        None => did_you_mean(unmet.kind.as_str(), SubjectKind::NAMES.into_iter()),
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
    let kinds: BTreeSet<&SubjectKind> = generation.rules.iter().map(|rule| &rule.subject_kind).collect();
    let of_kind = |kind: &SubjectKind| {
        let real: Vec<_> = latest.iter().filter(|change| change.snapshot.subject.kind == *kind).cloned().collect();
        if real.is_empty() { vec![Arc::new(Change::first(Snapshot::empty(kind.clone())))] } else { real }
    };
    kinds.into_iter().flat_map(of_kind).collect()
}
