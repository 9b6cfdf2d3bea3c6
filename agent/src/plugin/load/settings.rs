//! A plugin's settings: from TOML to JSON, a receiver's laid over its plugin's, checked against the plugin's own schema.

use std::time::Duration;

use jsonschema::PatternOptions;
use pharos_model::text;
use serde_json::Value;

use super::schema::{Schema, SchemaError};
use super::settings_problem::SettingsProblem;

/// Problems that are shown of one set of settings; more would only repeat themselves.
const PROBLEMS_MAX: usize = 20;
/// Bytes of the automaton of one regular expression. Expressions are matched in linear time, so a schema cannot use `(?=...)`.
pub(super) const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Time that a check of settings may take. A schema within its bounds takes far less, even on a busy machine.
pub(super) const CHECK_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    #[error("its settings were not checked within {0:?}")]
    DeadlineExceeded(Duration),
}

/// TOML settings as the JSON object that plugins see.
pub fn to_json(settings: &toml::Table) -> Value {
    // A TOML table holds nothing that JSON lacks but dates, which become texts.
    serde_json::to_value(settings).unwrap_or_else(|_| Value::Object(serde_json::Map::new()))
}

/// Lays settings over others: tables merge, everything else replaces.
pub fn overlay(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(mut under), Value::Object(over)) => {
            for (key, value) in over {
                let merged = match under.remove(&key) {
                    Some(present) => overlay(present, value),
                    None => value,
                };
                under.insert(key, merged);
            }
            Value::Object(under)
        }
        (_, over) => over,
    }
}

/// Problems of settings that do not fit a plugin's JSON Schema. Time, memory and stack are bounded, whatever the schema says. The check may
/// take a second, so call it where no other task waits.
pub fn problems(schema: &str, settings: &Value) -> Result<Vec<SettingsProblem>, SchemaError> {
    let schema = Schema::parse(schema)?;
    schema.check_steps(settings)?;
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let invalid =
        |err: &jsonschema::ValidationError<'_>| SchemaError::Invalid(text::line(&err.to_string(), text::LINE_BYTES_MAX).into_owned());
    let validator = jsonschema::options().with_pattern_options(patterns).build(schema.json()).map_err(|err| invalid(&err))?;
    Ok(validator.iter_errors(settings).take(PROBLEMS_MAX).map(|err| SettingsProblem::new(schema.json(), &err)).collect())
}

/// `/rules/0/above` as `.rules[0].above`
pub(super) fn dotted(pointer: &str) -> String {
    let step = |step: &str| if step.parse::<usize>().is_ok() { format!("[{step}]") } else { format!(".{step}") };
    let steps: String = pointer.split('/').skip(1).map(step).collect();
    text::line(&steps, text::LINE_BYTES_MAX).into_owned()
}
