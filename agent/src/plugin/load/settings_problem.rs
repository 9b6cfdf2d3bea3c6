//! Problem of a setting that breaks its schema, with a key that was probably meant. Its value is never shown, since it may be secret.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use pharos_model::text;
use serde_json::Value;

use crate::config::shape::did_you_mean;

/// Keys or values that a message lists.
const LISTED_MAX: usize = 12;
/// References that are followed from one schema to the next.
const REFERENCES_MAX: usize = 16;

/// A setting that does not fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// Place in the settings, as a JSON pointer: `/rules/0/above`. For a key that is missing or unknown this is the place of its table.
    pub pointer: String,
    /// The key that the schema does not have, if that is the problem.
    pub unknown_key: Option<String>,
    /// Problem in words, as one line.
    pub text: String,
}

impl SettingsProblem {
    /// Translates an error of the validator. Keys and patterns of a schema are a plugin's own words, so the text is made one line.
    pub fn new(schema: &Value, err: &ValidationError<'_>) -> Self {
        let pointer = err.instance_path().to_string();
        let mut unknown_key = None;
        let text = match err.kind() {
            Kind::AdditionalProperties { unexpected } => {
                unknown_key = unexpected.first().cloned();
                let known = keys(schema, &pointer);
                let hint = unexpected.first().map(|key| did_you_mean(key, known.iter().map(String::as_str))).unwrap_or_default();
                match hint.is_empty() && !known.is_empty() && known.len() <= LISTED_MAX {
                    true => format!("unknown key; there are {}", known.join(", ")),
                    false => format!("unknown key{hint}"),
                }
            }
            Kind::Required { property } => format!("needs a key `{}`", property.as_str().unwrap_or_default()),
            Kind::Enum { options } => {
                let allowed: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let given = err.instance().as_str().unwrap_or_default();
                format!("must be one of {}{}", allowed.join(", "), did_you_mean(given, allowed.iter().copied()))
            }
            Kind::Type { .. } => {
                let masked = err.masked().to_string();
                let wanted = masked.rsplit_once("of type").map_or(masked.as_str(), |(_, wanted)| wanted.trim()).replace('"', "");
                format!("is {}, but must be of type {wanted}", kind_of(err.instance()))
            }
            _ => err.masked().to_string(),
        };
        Self { pointer, unknown_key, text: text::line(&text, text::LINE_BYTES_MAX).into_owned() }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// Keys that the schema has at a place of the settings.
fn keys(schema: &Value, pointer: &str) -> Vec<String> {
    let mut nodes = resolved(schema, schema);
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        nodes =
            nodes.into_iter().filter_map(|node| below(node, &step)).flat_map(|next| resolved(schema, next)).take(REFERENCES_MAX).collect();
    }
    let properties = nodes.into_iter().filter_map(|node| node.get("properties")?.as_object()).flatten();
    properties.map(|(key, _)| key.clone()).collect()
}

/// The schema of a key or item.
fn below<'a>(node: &'a Value, step: &str) -> Option<&'a Value> {
    let property = node.get("properties").and_then(|properties| properties.get(step));
    property.or_else(|| node.get("additionalProperties")).or_else(|| node.get("items"))
}

/// A schema and those that it refers to.
fn resolved<'a>(root: &'a Value, node: &'a Value) -> Vec<&'a Value> {
    let mut nodes = vec![node];
    while let Some(to) = nodes.last().and_then(|node| node.get("$ref")?.as_str()) {
        let Some(next) = to.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else { break };
        if nodes.len() >= REFERENCES_MAX {
            break;
        }
        nodes.push(next);
    }
    nodes
}
