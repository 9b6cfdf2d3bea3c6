//! The rules as the operator writes them.

use std::collections::BTreeMap;
use std::fmt;

use pharos_plugin::{Failure, HumanDuration, Pattern, Reading, Severity};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub rules: Vec<RuleSettings>,
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
    /// An error the operator finds again: the rule, its key, what to do.
    pub fn refuse(&self, key: &str, mend: &str) -> Failure {
        Failure::InvalidConfig(format!("rule `{}`: `{key}`: {mend}", self.id))
    }
}

/// The value or values a label may have.
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
