//! The TOML file: one section per file, each with its struct, defaults and checks.
//!
//! Parts take their own section by value; nobody reads a stranger's setting.

pub mod agent;
pub mod alerts;
pub mod collect;
pub mod database;
pub mod http;
pub mod load;
pub mod notify;
pub mod plugins;
pub mod problem;
pub mod relay;
pub mod secret;
pub mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

pub use load::{find, load, parse};
pub use problem::LoadError;

use agent::{AgentConfig, LogConfig};
use alerts::AlertsConfig;
use collect::CollectConfig;
use database::{DatabaseConfig, RedisConfig};
use http::{AccessConfig, HttpConfig};
use notify::{InhibitConfig, ReceiverConfig, RouteConfig, SilenceConfig};
use plugins::{PluginConfig, PluginsConfig};
use relay::RelayConfig;
use secret::SecretSource;
use shape::{Shape, did_you_mean, key};

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

/// What the file may look like.
pub const SHAPE: Shape = Shape::Table(&[
    key("agent", Shape::Table(agent::AGENT_KEYS)),
    key("log", Shape::Table(agent::LOG_KEYS)),
    key("http", Shape::Table(http::HTTP_KEYS)),
    key("access", Shape::Table(http::ACCESS_KEYS)),
    key("database", Shape::List(&Shape::Table(database::DATABASE_KEYS))),
    key("redis", Shape::List(&Shape::Table(database::REDIS_KEYS))),
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
    /// Makes every path absolute or relative to the working directory, counted from the config file's folder.
    fn resolve_paths(&mut self, base: &Path) {
        self.agent.data_dir = base.join(&self.agent.data_dir);
        self.plugins.resolve_paths(base);
        self.database.iter_mut().for_each(|database| database.resolve_paths(base));
        self.redis.iter_mut().for_each(|redis| redis.resolve_paths(base));
        self.secret.values_mut().for_each(|secret| secret.resolve_path(base));
        self.relay.values_mut().for_each(|relay| relay.resolve_paths(base));
    }

    /// Checks what no single value shows; `report(path, message)` takes each problem.
    fn validate(&self, report: &mut impl FnMut(String, String)) {
        http::validate(&self.http, &self.access, &mut *report);
        self.collect.validate(&mut *report);
        self.plugins.validate(&mut *report);
        self.alerts.validate(&mut *report);
        notify::validate(&self.receiver, &self.route, &mut *report);
        notify::validate_holds(&self.inhibit, &self.silence, &mut *report);
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
        unique("database", self.database.iter().map(|database| &database.name), report);
        unique("redis", self.redis.iter().map(|redis| &redis.name), report);
        unique("receiver", self.receiver.iter().map(|receiver| &receiver.name), report);
        unique("inhibit", self.inhibit.iter().map(|inhibition| &inhibition.name), report);
        unique("silence", self.silence.iter().map(|silence| &silence.name), report);
        self.unique_servers(report);
        self.known_relays(report);
    }

    fn known_relays(&self, report: &mut impl FnMut(String, String)) {
        for (id, plugin) in &self.plugin {
            for (index, name) in plugin.grants.mail.iter().enumerate().filter(|(_, name)| !self.relay.contains_key(*name)) {
                let hint = did_you_mean(name, self.relay.keys().map(String::as_str));
                report(format!("plugin.{id}.grants.mail[{index}]"), format!("there is no [relay.{name}]{hint}"));
            }
        }
    }

    /// A server watched twice would have every series and alert twice.
    fn unique_servers(&self, report: &mut impl FnMut(String, String)) {
        let mut seen = BTreeSet::new();
        let postgres = self.database.iter().enumerate().flat_map(|(index, database)| database.servers(&format!("database[{index}]")));
        let redis = self.redis.iter().enumerate().flat_map(|(index, redis)| redis.servers(&format!("redis[{index}]")));
        for (path, id) in postgres.chain(redis) {
            if !seen.insert(id.clone()) {
                report(path, format!("the server {id} is listed twice"));
            }
        }
    }
}

fn unique<'a>(section: &str, names: impl Iterator<Item = &'a String>, report: &mut impl FnMut(String, String)) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        if !seen.insert(name) {
            report(format!("{section}[{index}].name"), format!("another [[{section}]] is named \"{name}\" already"));
        }
    }
}
