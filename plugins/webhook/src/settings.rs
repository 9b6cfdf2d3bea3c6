//! Settings of a webhook: the address, the headers, the secrets and the body.

use std::collections::BTreeMap;
use std::fmt;

use pharos_plugin::Failure;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub url: Value,
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// The name of the secret that is the whole `Authorization` header, such as `Bearer abc`.
    pub secret: Option<String>,
    /// The names of the secrets that sign the body (Standard Webhooks). There are two names while a key is rotated.
    #[serde(default)]
    pub sign: Names,
    #[serde(default)]
    pub format: Option<Format>,
    /// The template of the body. Excludes `format`.
    pub template: Option<String>,
    /// The content type of a template's body. None means `application/json`.
    pub content_type: Option<String>,
    /// Alerts in a message, at least 1. Further alerts are counted in `truncatedAlerts`.
    pub max_alerts: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Alertmanager,
    Generic,
}

/// A text in parts, which are joined without a separator.
#[derive(Debug, Clone, PartialEq)]
pub struct Value(pub Vec<Part>);

/// A text, or the name of the secret that holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Plain(String),
    Secret(String),
}

/// A list of names. Settings may give a single name as text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Names(pub Vec<String>);

/// Headers that the plugin sets itself. Settings must not contain them.
const OWN_HEADERS: [&str; 2] = ["content-type", "webhook-id"];

impl Settings {
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::InvalidConfig(why));
        if let Some(Part::Plain(url)) = self.url.0.first()
            && !url.starts_with("https://")
            && !url.starts_with("http://")
        {
            return refuse(format!("settings.url: `{url}` is no web address; begin it with https:// or http://"));
        }
        if self.url.0.is_empty() {
            return refuse("settings.url: names no address".to_owned());
        }
        if self.template.is_some() && self.format.is_some() {
            return refuse("settings.template: `format` already sets the body; keep one of them".to_owned());
        }
        if self.content_type.is_some() && self.template.is_none() {
            return refuse("settings.content_type: only a `template` can have another content type; remove the key".to_owned());
        }
        if self.content_type.as_deref().is_some_and(|text| text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic() || c == ' ')) {
            return refuse("settings.content_type: is no content type like \"text/plain; charset=utf-8\"".to_owned());
        }
        if self.max_alerts == Some(0) {
            return refuse("settings.max_alerts: a message needs an alert; give 1 or more, or remove the key".to_owned());
        }
        for (name, value) in &self.headers {
            if let Some(why) = self.objection(name, value) {
                return refuse(format!("settings.headers.{name}: {why}"));
            }
        }
        Ok(())
    }

    fn objection(&self, name: &str, value: &Value) -> Option<&'static str> {
        if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Some("the plugin sets this header itself; remove it");
        }
        if self.secret.is_some() && name.eq_ignore_ascii_case("authorization") {
            return Some("`secret` sets this header already; keep one of them");
        }
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)) {
            return Some("a header's name is made of letters, digits and dashes");
        }
        let broken = |part: &Part| matches!(part, Part::Plain(text) if text.chars().any(char::is_control));
        value.0.iter().any(broken).then_some("a header's value is one line of text")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartsVisitor)
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a text, { secret = \"name\" } or a list of these")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        PartVisitor.visit_str(text).map(|part| Value(vec![part]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        PartVisitor.visit_map(map).map(|part| Value(vec![part]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = items.next_element()? {
            parts.push(part);
        }
        Ok(Value(parts))
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a text or { secret = \"name\" }")
    }

    fn visit_str<E>(self, text: &str) -> Result<Part, E> {
        Ok(Part::Plain(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((key, name)) if key == "secret" => match map.next_key::<String>()? {
                None => Ok(Part::Secret(name)),
                Some(more) => Err(A::Error::unknown_field(&more, &["secret"])),
            },
            Some((key, _)) => Err(A::Error::unknown_field(&key, &["secret"])),
            None => Err(A::Error::missing_field("secret")),
        }
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("the name of a secret or a list of names")
    }

    fn visit_str<E>(self, text: &str) -> Result<Names, E> {
        Ok(Names(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = items.next_element()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}
