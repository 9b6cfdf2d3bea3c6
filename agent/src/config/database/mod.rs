//! `[[database]]` and `[[redis]]`: the servers to monitor.

mod options;
pub mod redis;
mod tls;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use pharos_model::error_chain::chain;
use serde::Deserialize;
use tokio_postgres::config::Host;

pub use self::tls::{TlsConfig, TlsMode};
use super::secret::SecretSource;
use super::shape::{Key, Shape, key, required};

/// A PostgreSQL primary with its replicas.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    pub name: String,
    pub primary: String,
    #[serde(default)]
    pub replicas: Vec<String>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
    #[serde(default)]
    pub tls: TlsConfig,
    #[serde(default)]
    pub slow_query: SlowQueryConfig,
}

/// The statements that `/api/database/slow-queries` lists.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlowQueryConfig {
    /// The mean execution time from which a statement counts as slow.
    #[serde(with = "humantime_serde")]
    pub threshold: Duration,
}

impl Default for SlowQueryConfig {
    fn default() -> Self {
        Self { threshold: Duration::from_millis(500) }
    }
}

pub const DATABASE_KEYS: &[Key] = &[
    required("name", Shape::Text),
    required("primary", Shape::Text),
    key("replicas", Shape::List(&Shape::Text)),
    key("password_file", Shape::Text),
    key("password_env", Shape::Text),
    key("tls", tls::SHAPE),
    key("slow_query", Shape::Table(&[key("threshold", Shape::Duration)])),
];

/// Address and account of one PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    pub host: Host,
    pub port: u16,
    pub user: String,
    pub datname: String,
}

impl PostgresAddress {
    /// `host:port`, or the socket's folder and port.
    pub fn id(&self) -> String {
        match &self.host {
            Host::Tcp(host) => format!("{host}:{}", self.port),
            Host::Unix(folder) => format!("{}:{}", folder.display(), self.port),
        }
    }

    /// True if traffic cannot be intercepted on the way.
    pub fn is_local(&self) -> bool {
        match &self.host {
            Host::Unix(_) => true,
            Host::Tcp(host) => host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        }
    }
}

impl FromStr for PostgresAddress {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err("must look like postgresql://user@host:5432/datname".to_owned());
        }
        options::refuse(url)?;
        let config = tokio_postgres::Config::from_str(url).map_err(|err| format!("is not a PostgreSQL URL: {}", chain(&err)))?;
        if config.get_password().is_some() {
            return Err("holds a password; move it to a file and name that with password_file".to_owned());
        }
        let [host] = config.get_hosts() else {
            return Err("must name exactly one host; list further servers under replicas".to_owned());
        };
        let user = config.get_user().ok_or("needs a user: postgresql://USER@host:5432/datname")?;
        Ok(Self {
            host: host.clone(),
            port: config.get_ports().first().copied().unwrap_or(5432),
            user: user.to_owned(),
            datname: config.get_dbname().unwrap_or(user).to_owned(),
        })
    }
}

/// True if a name on the command line means the server with this id. IPv6 addresses match with and without brackets.
pub fn is_named(id: &str, typed: &str) -> bool {
    let plain = |name: &str| name.replace(['[', ']'], "");
    id == typed || plain(id) == plain(typed)
}

impl DatabaseConfig {
    /// Path and text of each server's URL.
    fn urls(&self, path: &str) -> impl Iterator<Item = (String, &String)> {
        let replicas = self.replicas.iter().enumerate().map(move |(index, url)| (format!("{path}.replicas[{index}]"), url));
        std::iter::once((format!("{path}.primary"), &self.primary)).chain(replicas)
    }

    /// Path and id of each server whose URL can be read.
    pub fn servers(&self, path: &str) -> Vec<(String, String)> {
        self.urls(path).filter_map(|(path, url)| Some((path, url.parse::<PostgresAddress>().ok()?.id()))).collect()
    }

    pub fn password(&self) -> Option<SecretSource> {
        SecretSource::from_keys(self.password_file.as_ref(), self.password_env.as_ref())
    }

    pub fn resolve_paths(&mut self, base: &Path) {
        for path in [&mut self.password_file, &mut self.tls.ca].into_iter().flatten() {
            *path = base.join(&path);
        }
    }

    pub fn validate(&self, path: &str, mut report: impl FnMut(String, String)) {
        for (path, url) in self.urls(path) {
            if let Err(why) = url.parse::<PostgresAddress>() {
                report(path, why);
            }
        }
        both_passwords(path, self.password_file.is_some() && self.password_env.is_some(), report);
    }
}

fn both_passwords(path: &str, both: bool, mut report: impl FnMut(String, String)) {
    if both {
        report(format!("{path}.password_env"), "password_file and password_env are both set; keep one".to_owned());
    }
}
