//! `[[receiver]]`, `[[route]]`: who is told what.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shape::{Key, Shape, did_you_mean, key, required};

/// A destination: a notifier plugin and its settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverConfig {
    pub name: String,
    pub plugin: String,
    /// Laid over the plugin's own settings.
    #[serde(default)]
    pub settings: toml::Table,
}

/// Sends matching alerts to a receiver. The first route that matches wins; one without `match` takes all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Label to wanted value; `severity`, `rule`, `plugin` and `subject` count as labels.
    #[serde(default, rename = "match")]
    pub matchers: BTreeMap<String, OneOrMany>,
    pub receiver: String,
}

/// A text or a list of texts of which one must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> serde::de::Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

pub const RECEIVER_KEYS: &[Key] = &[required("name", Shape::Text), required("plugin", Shape::Text), key("settings", Shape::Settings)];

pub const ROUTE_KEYS: &[Key] = &[key("match", Shape::Map(&Shape::Texts)), required("receiver", Shape::Text)];

/// Checks that every route leads to a receiver.
pub fn validate(receivers: &[ReceiverConfig], routes: &[RouteConfig], mut report: impl FnMut(String, String)) {
    for (index, route) in routes.iter().enumerate() {
        if !receivers.iter().any(|receiver| receiver.name == route.receiver) {
            let hint = did_you_mean(&route.receiver, receivers.iter().map(|receiver| receiver.name.as_str()));
            report(format!("route[{index}].receiver"), format!("no [[receiver]] is named \"{}\"{hint}", route.receiver));
        }
    }
}
