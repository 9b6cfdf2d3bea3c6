//! Where to post, and what to send along.

use std::collections::BTreeMap;
use std::fmt;

use pharos_plugin::Failure;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub url: Value,
    #[serde(default)]
    pub headers: BTreeMap<String, Value>,
    /// Names the secret that is the whole `Authorization` header, such as `Bearer abc`.
    pub secret: Option<String>,
    /// Names the secret that signs the body as Standard Webhooks says.
    pub sign: Option<String>,
    /// Alerts in one message; what is more is counted in `truncatedAlerts`.
    pub max_alerts: Option<usize>,
}

/// A text, or the name of the secret that holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Plain(String),
    Secret(String),
}

/// Set by the plugin itself on every message.
const OWN_HEADERS: [&str; 2] = ["content-type", "webhook-id"];

impl Settings {
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::InvalidConfig(why));
        if let Value::Plain(url) = &self.url
            && !url.starts_with("https://")
            && !url.starts_with("http://")
        {
            return refuse(format!("settings.url: `{url}` is no web address; begin it with https:// or http://"));
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
        let printable = |text: &String| !text.chars().any(char::is_control);
        if let Value::Plain(text) = value
            && !printable(text)
        {
            return Some("a header's value is one line of text");
        }
        None
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a text or { secret = \"name\" }")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Plain(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        match map.next_entry::<String, String>()? {
            Some((key, name)) if key == "secret" => match map.next_key::<String>()? {
                None => Ok(Value::Secret(name)),
                Some(more) => Err(A::Error::unknown_field(&more, &["secret"])),
            },
            Some((key, _)) => Err(A::Error::unknown_field(&key, &["secret"])),
            None => Err(A::Error::missing_field("secret")),
        }
    }
}
