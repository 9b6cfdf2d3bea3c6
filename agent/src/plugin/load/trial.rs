//! Whether a plugin takes its settings: its schema decides, then its `init`, and some plugins name what they leave out.
//!
//! A plugin whose schema says `"x-pharos-wrong-settings": "ignored"` promises to leave out what it cannot use and to log it as a warning
//! with a field `setting`. Its settings may break the schema: one misspelt key must not turn off a whole plugin.

use pharos_model::finding::RuleSpec;
use pharos_model::text;
use serde_json::Value;

use super::loader::{LoadError, Loader, aside};
use super::settings::{self, SettingsError, dotted};
use crate::plugin::run::call_error::CallError;
use crate::plugin::run::generation::{Description, Generation};

/// A setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wrong {
    /// Where it stands below the settings: `.rules[0].above`.
    pub path: String,
    pub why: String,
}

impl Wrong {
    /// From a plugin's own words, which begin with `settings`. Each becomes one line.
    pub fn of_plugin(place: &str, why: &str) -> Self {
        let line = |words: &str| text::line(words, text::LINE_BYTES_MAX).into_owned();
        Self { path: line(place.strip_prefix("settings").unwrap_or_default()), why: line(why) }
    }

    /// Below a section of the config.
    pub fn within(&self, section: &str) -> String {
        format!("{section}{}: {}", self.path, self.why)
    }
}

/// A setting that a generation in service leaves out, or a receiver whose settings it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Where it stands in the config: `plugin.threshold.settings.rules[0].above`.
    pub place: String,
    /// The place and the reason, in words that may differ from version to version.
    pub text: String,
}

impl Ignored {
    /// A wrong setting below a section of the config.
    pub fn of(wrong: &Wrong, section: &str) -> Self {
        Self { place: format!("{section}{}", wrong.path), text: wrong.within(section) }
    }

    /// Whether this setting is the other one, or a part of it.
    pub fn is_part_of(&self, other: &Self) -> bool {
        self.place.strip_prefix(other.place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

/// What came of settings that a plugin took.
pub(super) struct Taken {
    pub rules: Vec<RuleSpec>,
    /// What it left out of them.
    pub ignored: Vec<Wrong>,
}

/// Why it did not take them.
pub(super) enum Refused {
    Settings(Vec<Wrong>),
    Schema(SettingsError),
    Init(CallError),
}

impl Refused {
    pub fn into_error(self, section: &str) -> LoadError {
        match self {
            Self::Settings(wrong) => SettingsError::Invalid(wrong.iter().map(|wrong| wrong.within(section)).collect()).into(),
            Self::Schema(err) => err.into(),
            Self::Init(err) => LoadError::Init(err),
        }
    }
}

impl Loader {
    /// Starts the generation with these settings.
    pub(super) async fn try_settings(&self, generation: &Generation, wanted: &Value) -> Result<Taken, Refused> {
        let misfits = self.misfits(&generation.description, wanted).await.map_err(Refused::Schema)?;
        if !misfits.is_empty() && !leaves_out(&generation.description) {
            return Err(Refused::Settings(misfits));
        }
        match generation.declare(wanted.to_string().into()).await {
            Ok(rules) => {
                let named = generation.context.take_ignored();
                Ok(Taken { rules, ignored: together(named, misfits) })
            }
            Err(_) if !misfits.is_empty() => Err(Refused::Settings(misfits)),
            Err(CallError::Refused(text)) => {
                Err(named_setting(&text).map_or(Refused::Init(CallError::Refused(text)), |wrong| Refused::Settings(vec![wrong])))
            }
            Err(err) => Err(Refused::Init(err)),
        }
    }

    /// What does not fit the schema. The schema is the plugin's own, so the runtime's few threads do not work through it.
    async fn misfits(&self, description: &Description, wanted: &Value) -> Result<Vec<Wrong>, SettingsError> {
        let (schema, wanted) = (description.settings_schema.clone(), wanted.clone());
        let checking = aside(&self.tasks, move || settings::problems(&schema, &wanted));
        let problems = tokio::time::timeout(settings::CHECK_MAX, checking)
            .await
            .map_err(|_| SettingsError::DeadlineExceeded(settings::CHECK_MAX))??;
        let wrong = |problem: settings::SettingsProblem| {
            let key = problem.unknown_key.map(|key| format!(".{key}")).unwrap_or_default();
            let path = format!("{}{key}", dotted(&problem.pointer));
            Wrong { path: text::line(&path, text::LINE_BYTES_MAX).into_owned(), why: problem.text }
        };
        Ok(problems.into_iter().map(wrong).collect())
    }
}

/// What the plugin says it leaves out, and what its schema says is wrong. Of one setting the plugin's words are better, since they say what becomes
/// of the rest; but it stops at the first mistake of a table, where the schema names each key.
fn together(mut named: Vec<Wrong>, misfits: Vec<Wrong>) -> Vec<Wrong> {
    let is_inside = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']));
    named.retain(|wrong| !misfits.iter().any(|misfit| is_inside(&misfit.path, &wrong.path)));
    let others: Vec<Wrong> = misfits.into_iter().filter(|misfit| !named.iter().any(|wrong| wrong.path == misfit.path)).collect();
    named.extend(others);
    named
}

/// Whether the plugin promises to leave out what it cannot use.
fn leaves_out(description: &Description) -> bool {
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap_or_default();
    schema.get("x-pharos-wrong-settings").and_then(Value::as_str) == Some("ignored")
}

/// The setting that a refusal names: `invalid settings: settings.url: must be ...`.
fn named_setting(text: &str) -> Option<Wrong> {
    let (place, why) = text.strip_prefix("invalid settings: ")?.split_once(": ")?;
    let is_place = place.starts_with("settings") && !place.contains(char::is_whitespace);
    is_place.then(|| Wrong::of_plugin(place, why))
}
