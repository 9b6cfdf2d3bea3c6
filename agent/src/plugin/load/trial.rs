//! Trial of settings: the schema of the plugin decides, then its `init`. Some plugins name settings that they ignore.
//!
//! A plugin whose schema says `"x-pharos-wrong-settings": "ignored"` ignores settings that it cannot use. It logs each as a
//! warning with a field `setting`. Its settings may break the schema: a misspelt key must not turn off a whole plugin.

use pharos_model::finding::RuleSpec;
use pharos_model::text;
use serde_json::Value;

use super::blocking::run_blocking;
use super::load_error::LoadError;
use super::loader::{Loader, Prepared};
use super::settings::{self, SettingsError, dotted};
use super::settings_problem::SettingsProblem;
use crate::plugin::import::wrong_setting::WrongSetting;
use crate::plugin::run::blueprint::Description;
use crate::plugin::run::call_error::CallError;

/// Result of settings that the plugin accepted.
pub(super) struct Taken {
    pub rules: Vec<RuleSpec>,
    /// Settings that the plugin ignores.
    pub ignored: Vec<WrongSetting>,
}

/// Reason why the plugin refused settings.
pub(super) enum Refused {
    Settings(Vec<WrongSetting>),
    Schema(SettingsError),
    Init(CallError),
}

impl Refused {
    pub(super) fn into_error(self, section: &str) -> LoadError {
        match self {
            Self::Settings(wrong) => SettingsError::Invalid(wrong.iter().map(|wrong| wrong.within(section)).collect()).into(),
            Self::Schema(err) => err.into(),
            Self::Init(err) => LoadError::Init(err),
        }
    }
}

impl Loader {
    /// Starts the generation with these settings.
    pub(super) async fn try_settings(&self, prepared: &Prepared, wanted: &Value) -> Result<Taken, Refused> {
        let Prepared { world, generation, .. } = prepared;
        let misfits = self.misfits(&generation.description, wanted).await.map_err(Refused::Schema)?;
        if !misfits.is_empty() && !leaves_out(&generation.description) {
            return Err(Refused::Settings(misfits));
        }
        match world.declare(generation, wanted.to_string().into()).await {
            Ok(rules) => {
                let named = generation.blueprint.context.drain_wrong_settings();
                Ok(Taken { rules, ignored: together(named, misfits) })
            }
            Err(_) if !misfits.is_empty() => Err(Refused::Settings(misfits)),
            Err(CallError::Refused(text)) => {
                Err(named_setting(&text).map_or(Refused::Init(CallError::Refused(text)), |wrong| Refused::Settings(vec![wrong])))
            }
            Err(err) => Err(Refused::Init(err)),
        }
    }

    /// Settings that do not fit the schema. The schema is the plugin's own, so the check runs off the runtime's few threads.
    async fn misfits(&self, description: &Description, wanted: &Value) -> Result<Vec<WrongSetting>, SettingsError> {
        let (schema, wanted) = (description.settings_schema.clone(), wanted.clone());
        let checking = run_blocking(&self.tasks, move || settings::problems(&schema, &wanted));
        let problems = tokio::time::timeout(settings::CHECK_MAX, checking)
            .await
            .map_err(|_| SettingsError::DeadlineExceeded(settings::CHECK_MAX))??;
        let wrong = |problem: SettingsProblem| {
            let key = problem.unknown_key.map(|key| format!(".{key}")).unwrap_or_default();
            let path = format!("{}{key}", dotted(&problem.pointer));
            WrongSetting { path: text::line(&path, text::LINE_BYTES_MAX).into_owned(), why: problem.text }
        };
        Ok(problems.into_iter().map(wrong).collect())
    }
}

/// Merges settings that the plugin named with settings that its schema refuses. The plugin's words about a setting are better, since they
/// explain what becomes of the rest. But a plugin stops at the first mistake of a table, where the schema names each key.
fn together(mut named: Vec<WrongSetting>, misfits: Vec<WrongSetting>) -> Vec<WrongSetting> {
    let is_inside = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']));
    named.retain(|wrong| !misfits.iter().any(|misfit| is_inside(&misfit.path, &wrong.path)));
    let others: Vec<WrongSetting> = misfits.into_iter().filter(|misfit| !named.iter().any(|wrong| wrong.path == misfit.path)).collect();
    named.extend(others);
    named
}

/// Whether the plugin promises to leave out what it cannot use.
fn leaves_out(description: &Description) -> bool {
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap_or_default();
    schema.get("x-pharos-wrong-settings").and_then(Value::as_str) == Some("ignored")
}

/// The setting that a refusal names: `invalid settings: settings.url: must be ...`.
fn named_setting(text: &str) -> Option<WrongSetting> {
    let (place, why) = text.strip_prefix("invalid settings: ")?.split_once(": ")?;
    let is_place = place.starts_with("settings") && !place.contains(char::is_whitespace);
    is_place.then(|| WrongSetting::from_plugin(place, why))
}
