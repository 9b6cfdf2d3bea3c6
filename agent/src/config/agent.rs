//! `[agent]` and `[log]`: the name of the agent, its data directory and its log.

use std::path::PathBuf;

use serde::Deserialize;

use super::shape::{Key, Shape, key};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// The name of the agent in notifications and in the sessions that it opens.
    pub name: String,
    /// The directory of the state store. One agent per directory.
    pub data_dir: PathBuf,
    /// The URL of this agent for people. Notifications contain it.
    pub external_url: Option<String>,
}

pub const AGENT_KEYS: &[Key] = &[key("name", Shape::Text), key("data_dir", Shape::Text), key("external_url", Shape::Text)];

impl Default for AgentConfig {
    fn default() -> Self {
        Self { name: "pharos".to_owned(), data_dir: PathBuf::from("/var/lib/pharos"), external_url: None }
    }
}

impl AgentConfig {
    pub fn validate(&self, mut report: impl FnMut(String, String)) {
        if self.name.trim().is_empty() || self.name.chars().any(char::is_control) {
            report("agent.name".to_owned(), "is empty, or has control characters; give the agent a name".to_owned());
        }
        let Some(url) = &self.external_url else { return };
        let parsed = url::Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        match parsed {
            None => report(
                "agent.external_url".to_owned(),
                "is no address of a web page; write it like \"https://pharos.example.com\"".to_owned(),
            ),
            Some(url) if !url.username().is_empty() || url.password().is_some() => {
                report(
                    "agent.external_url".to_owned(),
                    "holds a user or a password, and goes into every notification; remove them".to_owned(),
                );
            }
            Some(_) => {}
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

pub const LOG_KEYS: &[Key] =
    &[key("level", Shape::OneOf(&["error", "warn", "info", "debug", "trace"])), key("format", Shape::OneOf(&["text", "json"]))];

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}
