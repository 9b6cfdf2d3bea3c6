//! References from a plugin's settings to the rest of the config: secrets, relays, hosts, metrics.
//!
//! A plugin marks such settings in its schema. `"format"` may be `pharos-secret`, `pharos-relay` or `pharos-url`, and
//! `"x-pharos-series": { "metric": KEY, "labels": KEY }` marks an object that chooses series. Without
//! the marks a misspelt name is found only when an alert is lost through it.

use pharos_model::catalogue::metrics::Metrics;
use pharos_model::subject::SubjectKind;
use serde_json::Value;

use crate::config::shape::did_you_mean;

/// Levels of settings that are searched. A schema within its bounds has no more.
const DEPTH_MAX: usize = 64;
/// Steps along schema and settings. References beyond are not found, since the search would take too long.
const STEPS_MAX: usize = 100_000;

/// A setting that refers to another part of the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Place in the settings, as a JSON pointer.
    pub pointer: String,
    pub to: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Secret(String),
    Relay(String),
    Url(String),
    Metric(String),
    /// A label of a metric's series.
    Label {
        metric: String,
        label: String,
    },
}

/// All references in the settings that the schema marks.
pub(super) fn find(schema: &Value, settings: &Value) -> Vec<Reference> {
    let mut walk = Walk { root: schema, found: Vec::new(), steps: 0 };
    walk.along(schema, settings, "", 0);
    walk.found
}

struct Walk<'a> {
    root: &'a Value,
    found: Vec<Reference>,
    steps: usize,
}

impl Walk<'_> {
    fn along(&mut self, schema: &Value, settings: &Value, pointer: &str, depth: usize) {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return;
        }
        let referred = schema.get("$ref").and_then(Value::as_str).and_then(|to| self.root.pointer(to.strip_prefix('#')?));
        let alternatives = ["allOf", "anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
        for same in referred.into_iter().chain(alternatives) {
            self.along(same, settings, pointer, depth + 1);
        }
        match settings {
            Value::String(text) => {
                let to = match schema.get("format").and_then(Value::as_str) {
                    Some("pharos-secret") => Target::Secret(text.clone()),
                    Some("pharos-relay") => Target::Relay(text.clone()),
                    Some("pharos-url") => Target::Url(text.clone()),
                    _ => return,
                };
                self.add(pointer.to_owned(), to);
            }
            Value::Array(items) => {
                let Some(schema) = schema.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    self.along(schema, item, &format!("{pointer}/{index}"), depth + 1);
                }
            }
            Value::Object(table) => {
                for (key, value) in table {
                    let known = schema.get("properties").and_then(|properties| properties.get(key));
                    if let Some(schema) = known.or_else(|| schema.get("additionalProperties")) {
                        self.along(schema, value, &below(pointer, key), depth + 1);
                    }
                }
                self.series(schema, settings, pointer);
            }
            _ => {}
        }
    }

    fn series(&mut self, schema: &Value, settings: &Value, pointer: &str) {
        let Some(marked) = schema.get("x-pharos-series") else { return };
        let key = |name: &str| marked.get(name).and_then(Value::as_str);
        let Some((metric_key, metric)) = key("metric").and_then(|key| Some((key, settings.get(key)?.as_str()?))) else { return };
        self.add(below(pointer, metric_key), Target::Metric(metric.to_owned()));
        let Some((labels_key, labels)) = key("labels").and_then(|key| Some((key, settings.get(key)?.as_object()?))) else { return };
        for label in labels.keys() {
            let at = below(&below(pointer, labels_key), label);
            self.add(at, Target::Label { metric: metric.to_owned(), label: label.clone() });
        }
    }

    /// Several alternatives may mark the same setting.
    fn add(&mut self, pointer: String, to: Target) {
        let reference = Reference { pointer, to };
        if !self.found.contains(&reference) {
            self.found.push(reference);
        }
    }
}

fn below(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// Reason why no metric has this name, with a name that may have been meant.
pub(super) fn unknown_metric(metric: &str) -> Option<String> {
    let catalogue = Metrics::shipped();
    if catalogue.spec(metric).is_some() {
        return None;
    }
    let hint = did_you_mean(metric, catalogue.iter().map(|(name, _)| name));
    Some(format!("no metric is named \"{metric}\"{hint}"))
}

/// Reason why no series of a metric has this label, with a label that may have been meant.
pub(super) fn unknown_label(metric: &str, label: &str) -> Option<String> {
    let catalogue = Metrics::shipped();
    let own = &catalogue.spec(metric)?.labels;
    let kind = SubjectKind::observed().find(|kind| catalogue.part_of(metric, kind).is_some())?;
    let known: Vec<&str> = kind.labels().iter().copied().chain(own.iter().map(String::as_str)).collect();
    if known.contains(&label) {
        return None;
    }
    let hint = did_you_mean(label, known.iter().copied());
    let hint = if hint.is_empty() { format!("; it has {}", known.join(", ")) } else { hint };
    Some(format!("`{label}` is no label of {metric}{hint}"))
}
