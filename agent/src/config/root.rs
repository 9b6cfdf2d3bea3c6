//! The whole file: its sections, their shape, and the checks of each.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::agent::{self, AgentConfig, LogConfig};
use super::alerts::{self, AlertsConfig};
use super::collect::{self, CollectConfig};
use super::database::redis::RedisConfig;
use super::database::{self, DatabaseConfig};
use super::http::{self, AccessConfig, HttpConfig};
use super::notify::{self, InhibitConfig, Patterns, ReceiverConfig, RouteConfig, SilenceConfig};
use super::plugins::{self, PluginConfig, PluginsConfig};
use super::relay::{self, RelayConfig};
use super::secret::{self, SecretSource};
use super::shape::{Shape, key};

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub agent: AgentConfig,
    pub log: LogConfig,
    pub http: HttpConfig,
    pub access: AccessConfig,
    pub database: Vec<DatabaseConfig>,
    pub redis: Vec<RedisConfig>,
    pub collect: CollectConfig,
    pub plugins: PluginsConfig,
    pub alerts: AlertsConfig,
    pub plugin: BTreeMap<String, PluginConfig>,
    pub secret: BTreeMap<String, SecretSource>,
    pub relay: BTreeMap<String, RelayConfig>,
    pub receiver: Vec<ReceiverConfig>,
    pub route: Vec<RouteConfig>,
    pub inhibit: Vec<InhibitConfig>,
    pub silence: Vec<SilenceConfig>,
}

/// The shape of the file.
pub const SHAPE: Shape = Shape::Table(&[
    key("agent", Shape::Table(agent::AGENT_KEYS)),
    key("log", Shape::Table(agent::LOG_KEYS)),
    key("http", Shape::Table(http::HTTP_KEYS)),
    key("access", Shape::Table(http::ACCESS_KEYS)),
    key("database", Shape::List(&Shape::Table(database::DATABASE_KEYS))),
    key("redis", Shape::List(&Shape::Table(database::redis::KEYS))),
    key("collect", Shape::Table(collect::COLLECT_KEYS)),
    key("plugins", Shape::Table(plugins::PLUGINS_KEYS)),
    key("alerts", Shape::Table(alerts::ALERTS_KEYS)),
    key("plugin", Shape::Map(&Shape::Table(plugins::PLUGIN_KEYS))),
    key("secret", Shape::Map(&Shape::OneKey(secret::SOURCE_KEYS))),
    key("relay", Shape::Map(&Shape::Table(relay::RELAY_KEYS))),
    key("receiver", Shape::List(&Shape::Table(notify::RECEIVER_KEYS))),
    key("route", Shape::List(&Shape::Table(notify::ROUTE_KEYS))),
    key("inhibit", Shape::List(&Shape::Table(notify::INHIBIT_KEYS))),
    key("silence", Shape::List(&Shape::Table(notify::SILENCE_KEYS))),
]);

impl Config {
    /// Resolves every relative path from the folder of the config file.
    pub(super) fn resolve_paths(&mut self, base: &Path) {
        self.agent.data_dir = base.join(&self.agent.data_dir);
        self.plugins.resolve_paths(base);
        self.database.iter_mut().for_each(|database| database.resolve_paths(base));
        self.redis.iter_mut().for_each(|redis| redis.resolve_paths(base));
        self.secret.values_mut().for_each(|secret| secret.resolve_path(base));
        self.relay.values_mut().for_each(|relay| relay.resolve_paths(base));
    }

    /// Checks values that depend on each other. `report(path, message)` takes each problem.
    pub(super) fn validate(&self, report: &mut impl FnMut(String, String)) {
        self.agent.validate(&mut *report);
        http::validate(&self.http, &self.access, &mut *report);
        self.collect.validate(&mut *report);
        self.plugins.validate(&mut *report);
        self.alerts.validate(&mut *report);
        let mut patterns = Patterns::default();
        notify::validate(&self.receiver, &self.route, &mut patterns, &mut *report);
        notify::validate_holds(&self.inhibit, &self.silence, &mut patterns, &mut *report);
        for (index, database) in self.database.iter().enumerate() {
            database.validate(&format!("database[{index}]"), &mut *report);
        }
        for (index, redis) in self.redis.iter().enumerate() {
            redis.validate(&format!("redis[{index}]"), &mut *report);
        }
        for (id, plugin) in &self.plugin {
            plugin.validate(&format!("plugin.{id}"), &mut *report);
        }
        for (name, relay) in &self.relay {
            relay.validate(&format!("relay.{name}"), &mut *report);
        }
    }
}
