//! A plugin's settings: from TOML to JSON, a receiver's laid over its plugin's, checked against the plugin's own schema.

use serde_json::Value;

/// Problems that are shown of one set of settings; more would only repeat themselves.
const PROBLEMS_MAX: usize = 20;

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("the plugin's settings schema is not a JSON Schema: {0}")]
    Schema(String),
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
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

/// Checks settings against a plugin's JSON Schema. `section` names where they stand in the TOML.
pub fn check(section: &str, schema: &str, settings: &Value) -> Result<(), SettingsError> {
    let schema: Value = serde_json::from_str(schema).map_err(|err| SettingsError::Schema(err.to_string()))?;
    let validator = jsonschema::validator_for(&schema).map_err(|err| SettingsError::Schema(err.to_string()))?;
    let problems: Vec<String> = validator
        .iter_errors(settings)
        .take(PROBLEMS_MAX)
        .map(|err| format!("{section}{}: {err}", dotted(&err.instance_path().to_string())))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(SettingsError::Invalid(problems)) }
}

/// `/rules/0/above` as `.rules[0].above`
fn dotted(pointer: &str) -> String {
    let step = |step: &str| if step.parse::<usize>().is_ok() { format!("[{step}]") } else { format!(".{step}") };
    pointer.split('/').skip(1).map(step).collect()
}
