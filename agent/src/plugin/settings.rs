//! A plugin's settings: from TOML to JSON, a receiver's laid over its plugin's, checked against the plugin's own schema.

use std::time::Duration;

use serde_json::Value;

use super::explain;

/// Problems that are shown of one set of settings; more would only repeat themselves.
const PROBLEMS_MAX: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the plugin's settings schema is not a JSON Schema: {0}")]
    Schema(String),
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    #[error("the settings were not checked within {0:?}")]
    DeadlineExceeded(Duration),
}

/// How long a check of settings may take.
pub(super) const CHECK_MAX: Duration = Duration::from_secs(30);

/// One setting that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Where it stands, as a JSON pointer.
    pub pointer: String,
    /// The key that the schema does not know, if that is the problem.
    pub unknown_key: Option<String>,
    pub text: String,
}

/// What in the settings does not fit a plugin's JSON Schema.
pub fn problems(schema: &str, settings: &Value) -> Result<Vec<SettingsProblem>, SettingsError> {
    let schema: Value = serde_json::from_str(schema).map_err(|err| SettingsError::Schema(err.to_string()))?;
    let validator = jsonschema::validator_for(&schema).map_err(|err| SettingsError::Schema(err.to_string()))?;
    Ok(validator.iter_errors(settings).take(PROBLEMS_MAX).map(|err| explain::problem(&schema, &err)).collect())
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

/// `/rules/0/above` as `.rules[0].above`
pub(super) fn dotted(pointer: &str) -> String {
    let step = |step: &str| if step.parse::<usize>().is_ok() { format!("[{step}]") } else { format!(".{step}") };
    pointer.split('/').skip(1).map(step).collect()
}
