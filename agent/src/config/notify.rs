//! `[[receiver]]`, `[[route]]`, `[[inhibit]]` and `[[silence]]`: which receiver gets which alert, and which alerts are withheld.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::dispatch::{Inhibition, LabelMatcher, MatcherError, Matchers, Route, SILENCES_BYTES_MAX, Silence};
use pharos_model::duration::milliseconds;
use serde::Deserialize;

use super::shape::{Key, Shape, did_you_mean, key, required};

/// A destination: a notifier plugin and its settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverConfig {
    pub name: String,
    pub plugin: String,
    /// Settings of the receiver. They override those of the plugin.
    #[serde(default)]
    pub settings: toml::Table,
}

/// A route of alerts to a receiver. The first matching route wins. A route without `match` and `matchers` takes all alerts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Wanted values by label. `severity`, `rule`, `plugin`, `subject` and `kind` count as labels.
    #[serde(default, rename = "match")]
    pub matches: BTreeMap<String, OneOrMany>,
    /// Matchers with operators: `name=value`, `name!=value`, `name=~regex`, `name!~regex`.
    #[serde(default)]
    pub matchers: Vec<String>,
    pub receiver: String,
    /// True if the routes after this one are tried too.
    #[serde(default, rename = "continue")]
    pub continues: bool,
    /// Labels that alerts must share to go into one message.
    #[serde(default = "group_by")]
    pub group_by: Vec<String>,
    /// The time that the first alert of a group waits for others.
    #[serde(default = "group_wait", with = "humantime_serde")]
    pub group_wait: Duration,
    /// The time between two messages of a group. Graver alerts than those of the last message wait for `group_wait` only.
    #[serde(default = "group_interval", with = "humantime_serde")]
    pub group_interval: Duration,
    /// The time after which a firing alert is sent again. 0s means never.
    #[serde(default = "repeat_interval", with = "humantime_serde")]
    pub repeat_interval: Duration,
}

fn group_by() -> Vec<String> {
    vec!["subject".to_owned()]
}

fn group_wait() -> Duration {
    Duration::from_secs(30)
}

fn group_interval() -> Duration {
    Duration::from_secs(300)
}

fn repeat_interval() -> Duration {
    Duration::from_secs(4 * 3_600)
}

impl RouteConfig {
    /// The route as the model uses it.
    pub fn route(&self) -> Result<Route, MatcherError> {
        let mut matchers = parsed(&self.matchers)?;
        for (name, wanted) in &self.matches {
            matchers.push(LabelMatcher::any_of(name, &wanted.0)?)?;
        }
        Ok(Route {
            matchers,
            receiver: self.receiver.clone(),
            continues: self.continues,
            group_by: self.group_by.clone(),
            group_wait: self.group_wait,
            group_interval: self.group_interval,
            repeat_interval: self.repeat_interval,
        })
    }
}

/// An inhibition. While an alert that matches `source` fires, alerts that match `target` and share the labels `equal` are withheld.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InhibitConfig {
    pub name: String,
    pub source: Vec<String>,
    pub target: Vec<String>,
    #[serde(default)]
    pub equal: Vec<String>,
}

impl InhibitConfig {
    pub fn inhibition(&self) -> Result<Inhibition, MatcherError> {
        let (source, target) = (parsed(&self.source)?, parsed(&self.target)?);
        Ok(Inhibition { name: self.name.clone(), source, target, equal: self.equal.clone(), needs_proof: false })
    }
}

/// A silence of the config file, for planned work.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SilenceConfig {
    pub name: String,
    pub matchers: Vec<String>,
    /// The beginning, in RFC 3339.
    pub starts: String,
    pub ends: String,
    pub author: String,
    pub comment: String,
}

impl SilenceConfig {
    /// The silence as the model uses it, or the problem with it.
    pub fn silence(&self) -> Result<Silence, String> {
        let silence = Silence {
            id: format!("config:{}", self.name),
            matchers: parsed(&self.matchers).map_err(|err| err.to_string())?,
            starts_at_ms: instant(&self.starts)?,
            ends_at_ms: instant(&self.ends)?,
            author: self.author.clone(),
            comment: self.comment.clone(),
            created_at_ms: 0,
            over: false,
            configured: true,
        };
        silence.check(0).map(|()| silence).map_err(|err| err.to_string())
    }
}

fn instant(text: &str) -> Result<u64, String> {
    let at = humantime::parse_rfc3339(text).map_err(|_| format!("`{text}` is no instant like \"2026-11-25T22:00:00Z\""))?;
    let since = at.duration_since(std::time::UNIX_EPOCH).map_err(|_| format!("`{text}` is before 1970"))?;
    Ok(milliseconds(since))
}

fn parsed(texts: &[String]) -> Result<Matchers, MatcherError> {
    Matchers::parse(texts)
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

pub(crate) const RECEIVER_KEYS: &[Key] =
    &[required("name", Shape::Text), required("plugin", Shape::Text), key("settings", Shape::Settings)];

const TEXTS: Shape = Shape::List(&Shape::Text);

pub(crate) const ROUTE_KEYS: &[Key] = &[
    key("match", Shape::Map(&Shape::Texts)),
    key("matchers", TEXTS),
    required("receiver", Shape::Text),
    key("continue", Shape::Boolean),
    key("group_by", TEXTS),
    key("group_wait", Shape::Duration),
    key("group_interval", Shape::Duration),
    key("repeat_interval", Shape::Duration),
];

pub(crate) const INHIBIT_KEYS: &[Key] =
    &[required("name", Shape::Text), required("source", TEXTS), required("target", TEXTS), key("equal", TEXTS)];

pub(crate) const SILENCE_KEYS: &[Key] = &[
    required("name", Shape::Text),
    required("matchers", TEXTS),
    required("starts", Shape::Text),
    required("ends", Shape::Text),
    required("author", Shape::Text),
    required("comment", Shape::Text),
];

/// Checks that every route leads to a receiver and that an alert can match its matchers.
pub(crate) fn validate(
    receivers: &[ReceiverConfig],
    routes: &[RouteConfig],
    patterns: &mut Patterns,
    mut report: impl FnMut(String, String),
) {
    let mut closed_by = None;
    for (index, route) in routes.iter().enumerate() {
        let path = format!("route[{index}]");
        if !receivers.iter().any(|receiver| receiver.name == route.receiver) {
            let hint = did_you_mean(&route.receiver, receivers.iter().map(|receiver| receiver.name.as_str()));
            report(format!("{path}.receiver"), format!("no [[receiver]] is named \"{}\"{hint}", route.receiver));
        }
        let key = if route.matchers.is_empty() { "match" } else { "matchers" };
        match route.route() {
            Err(err) => report(format!("{path}.{key}"), err.to_string()),
            Ok(route) => patterns.count(&route.matchers, &format!("{path}.{key}"), &mut report),
        }
        if let Some(first) = closed_by {
            report(path, format!("it is never used, because route[{first}] takes every alert; move it up, or set `continue = true` there"));
        } else if route.matches.is_empty() && route.matchers.is_empty() && !route.continues {
            closed_by = Some(index);
        }
        if !route.repeat_interval.is_zero() && route.repeat_interval < route.group_interval {
            report(
                format!("route[{index}].repeat_interval"),
                "is shorter than group_interval; reminders cannot be sent so often".to_owned(),
            );
        }
    }
}

/// Checks inhibitions and silences.
pub(crate) fn validate_holds(
    inhibitions: &[InhibitConfig],
    silences: &[SilenceConfig],
    patterns: &mut Patterns,
    mut report: impl FnMut(String, String),
) {
    for (index, inhibition) in inhibitions.iter().enumerate() {
        for (key, texts) in [("source", &inhibition.source), ("target", &inhibition.target)] {
            let path = format!("inhibit[{index}].{key}");
            match parsed(texts) {
                Err(err) => report(path, err.to_string()),
                Ok(source) if key == "source" && source.fit_all() => {
                    report(path, "every alert would hide others; name the alerts that explain them".to_owned());
                }
                Ok(matchers) => patterns.count(&matchers, &path, &mut report),
            }
        }
    }
    for (index, silence) in silences.iter().enumerate() {
        match silence.silence() {
            Err(why) => report(format!("silence[{index}]"), why),
            Ok(silence) => patterns.count(&silence.matchers, &format!("silence[{index}].matchers"), &mut report),
        }
    }
}

/// The memory that further matchers of the file may use.
#[derive(Debug)]
pub(crate) struct Patterns {
    left: usize,
}

impl Default for Patterns {
    fn default() -> Self {
        Self { left: SILENCES_BYTES_MAX }
    }
}

impl Patterns {
    /// Counts the memory of matchers, and checks that an alert can match them.
    fn count(&mut self, matchers: &Matchers, path: &str, report: &mut impl FnMut(String, String)) {
        if let Some(never) = matchers.never() {
            let given = never.given.iter().filter(|given| !never.known.contains(&given.as_str()));
            let hint = given.map(|given| did_you_mean(given, never.known.iter().copied())).find(|hint| !hint.is_empty());
            report(path.to_owned(), format!("{never}{}", hint.unwrap_or_default()));
        }
        match self.left.checked_sub(matchers.bytes()) {
            Some(left) => self.left = left,
            None => report(
                path.to_owned(),
                format!(
                    "the matchers of this file take more than {} MiB together; write simpler regular expressions",
                    SILENCES_BYTES_MAX >> 20
                ),
            ),
        }
    }
}
