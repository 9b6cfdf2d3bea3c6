//! Settings of the plugin: the list of rules that the operator wrote.

use std::collections::BTreeMap;
use std::fmt;

use pharos_plugin::settings::{Ignored, nearest, parse};
use pharos_plugin::{HumanDuration, Pattern, Reading, Severity};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;

/// The valid rules, each with its path such as `settings.rules[0]`. An invalid rule is left out, and all others stay in force.
#[derive(Debug, Default)]
pub struct Settings {
    pub rules: Vec<(String, RuleSettings)>,
    pub ignored: Vec<Ignored>,
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = Self::default();
        for (key, value) in BTreeMap::<String, Value>::deserialize(deserializer)? {
            match (key.as_str(), value) {
                ("rules", Value::Array(rules)) => rules.into_iter().enumerate().for_each(|(index, rule)| settings.read(index, rule)),
                ("rules", _) => settings.ignored.push(Ignored::new("settings.rules", "must be a list of rules")),
                (other, _) => {
                    let hint = nearest(other, ["rules"]).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
                    settings.ignored.push(Ignored::new(format!("settings.{other}"), format!("unknown key{hint}")));
                }
            }
        }
        Ok(settings)
    }
}

impl Settings {
    fn read(&mut self, index: usize, rule: Value) {
        let place = format!("settings.rules[{index}]");
        match parse::<RuleSettings>(&rule.to_string()) {
            Ok(rule) => self.rules.push((place, rule)),
            Err(failure) => self.ignored.push(Ignored::from_failure(failure).under(&place)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    pub id: String,
    pub metric: String,
    #[serde(default, rename = "match")]
    pub matching: BTreeMap<String, Wanted>,
    #[serde(default = "value")]
    pub reading: Reading,
    pub above: Option<f64>,
    pub below: Option<f64>,
    pub clear: Option<f64>,
    #[serde(default, rename = "for")]
    pub hold_off: HumanDuration,
    #[serde(default)]
    pub keep_firing_for: HumanDuration,
    pub severity: Severity,
    pub summary: Option<String>,
    pub category: Option<String>,
    pub runbook: Option<String>,
}

fn value() -> Reading {
    Reading::Value
}

impl RuleSettings {
    /// Creates an error for the operator, with the rule, its key and the correction.
    pub fn refuse(&self, key: &'static str, correction: &str) -> Refusal {
        Refusal { key, why: format!("rule `{}`: `{key}`: {correction}", self.id) }
    }
}

/// The reason why a rule is invalid.
#[derive(Debug)]
pub struct Refusal {
    /// The key to correct.
    pub key: &'static str,
    pub why: String,
}

/// The values that a label may have.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted(pub Pattern);

impl Wanted {
    pub fn accepts(&self, value: &str) -> bool {
        match &self.0 {
            Pattern::Equals(wanted) => wanted == value,
            Pattern::OneOf(wanted) => wanted.iter().any(|wanted| wanted == value),
            Pattern::Prefix(wanted) => value.starts_with(wanted),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match &self.0 {
            Pattern::Equals(wanted) => formatter.write_str(wanted),
            Pattern::OneOf(wanted) => formatter.write_str(&wanted.join("|")),
            Pattern::Prefix(prefix) => write!(formatter, "{prefix}*"),
        }
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WantedVisitor)
    }
}

struct WantedVisitor;

impl<'de> Visitor<'de> for WantedVisitor {
    type Value = Wanted;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a label's value or a list of them")
    }

    fn visit_str<E>(self, value: &str) -> Result<Wanted, E> {
        Ok(Wanted(Pattern::Equals(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Wanted, A::Error> {
        let mut wanted = Vec::new();
        while let Some(value) = values.next_element()? {
            wanted.push(value);
        }
        Ok(Wanted(Pattern::OneOf(wanted)))
    }
}
