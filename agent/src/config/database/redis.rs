//! `[[redis]]`: the servers of a Redis deployment.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::config::database::{TlsMode, both_passwords};
use crate::config::secret::SecretSource;
use crate::config::shape::{Key, Shape, key, required};

/// The servers of one Redis deployment. Sentinel and Cluster come later.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    pub name: String,
    #[serde(default)]
    pub mode: RedisMode,
    pub nodes: Vec<String>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
    pub tls: Option<RedisTls>,
}

/// Trust of encrypted sessions, and the agent's own certificate. `rediss://` in the URL encrypts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisTls {
    /// The mode of verification. `None`: `verify-full`.
    pub mode: Option<TlsMode>,
    /// The PEM file of the certificates to trust. `None`: the certificates of the operating system.
    pub ca: Option<PathBuf>,
    /// PEM file of the agent's own certificate, for servers that want one (`tls-auth-clients`).
    pub cert: Option<PathBuf>,
    /// The PEM file of the key of that certificate.
    pub key: Option<PathBuf>,
}

impl RedisTls {
    /// Certificate and key of the agent, where both are named.
    pub fn identity(&self) -> Option<(&Path, &Path)> {
        self.cert.as_deref().zip(self.key.as_deref())
    }

    /// Every file with its key in the config.
    pub fn files(&self) -> [(&'static str, Option<&PathBuf>); 3] {
        [("ca", self.ca.as_ref()), ("cert", self.cert.as_ref()), ("key", self.key.as_ref())]
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisMode {
    #[default]
    Standalone,
}

pub const KEYS: &[Key] = &[
    required("name", Shape::Text),
    key("mode", Shape::OneOf(&["standalone"])),
    required("nodes", Shape::List(&Shape::Text)),
    key("password_file", Shape::Text),
    key("password_env", Shape::Text),
    key("tls", TLS),
];

const TLS: Shape = Shape::Table(&[
    key("mode", Shape::OneOf(&["require", "verify-ca", "verify-full"])),
    key("ca", Shape::Text),
    key("cert", Shape::Text),
    key("key", Shape::Text),
]);

/// Address of one Redis server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub url: url::Url,
}

impl RedisAddress {
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or("127.0.0.1")
    }

    pub fn port(&self) -> u16 {
        self.url.port().unwrap_or(6379)
    }

    pub fn id(&self) -> String {
        format!("{}:{}", self.host(), self.port())
    }

    /// True if sessions are encrypted.
    pub fn tls(&self) -> bool {
        self.url.scheme() == "rediss"
    }

    /// The user to log in as. `None`: the server's own `default`.
    pub fn user(&self) -> Option<String> {
        let user = Some(self.url.username()).filter(|user| !user.is_empty())?;
        Some(percent_decode_str(user).decode_utf8_lossy().into_owned())
    }
}

impl FromStr for RedisAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = url::Url::parse(text).map_err(|err| format!("is not a Redis URL: {err}"))?;
        if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none() {
            return Err("must look like redis://host:6379 or rediss://host:6379".to_owned());
        }
        if url.password().is_some() {
            return Err("holds a password; move it to a file and name that with password_file".to_owned());
        }
        if url.host_str().is_some_and(|host| host.contains(',')) {
            return Err("must name exactly one host; list further servers under nodes".to_owned());
        }
        if let Some(option) = url.query_pairs().next() {
            return Err(format!("has the option `{}`, which Pharos does not read; remove it", option.0.escape_debug()));
        }
        if url.fragment().is_some() {
            return Err(
                "ends in a `#`, which Pharos does not read; for a certificate that cannot be checked write `tls = { mode = \"require\" }` \
                        beside `nodes`"
                    .to_owned(),
            );
        }
        if percent_decode_str(url.username()).decode_utf8().is_err() {
            return Err("holds a user that is not UTF-8".to_owned());
        }
        let index = url.path().trim_start_matches('/');
        if !index.is_empty() && index.parse::<u16>().is_err() {
            return Err("must end in the number of a database, such as redis://host:6379/0, or in nothing".to_owned());
        }
        Ok(Self { url })
    }
}

impl RedisConfig {
    /// Path and id of each server whose URL can be read.
    pub fn servers(&self, path: &str) -> Vec<(String, String)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(index, url)| Some((format!("{path}.nodes[{index}]"), url.parse::<RedisAddress>().ok()?.id()))).collect()
    }

    pub fn password(&self) -> Option<SecretSource> {
        SecretSource::from_keys(self.password_file.as_ref(), self.password_env.as_ref())
    }

    pub fn resolve_paths(&mut self, base: &Path) {
        let tls = self.tls.iter_mut().flat_map(|tls| [&mut tls.ca, &mut tls.cert, &mut tls.key]);
        for path in tls.chain([&mut self.password_file]).flatten() {
            *path = base.join(&path);
        }
    }

    pub fn validate(&self, path: &str, mut report: impl FnMut(String, String)) {
        for (index, url) in self.nodes.iter().enumerate() {
            match url.parse::<RedisAddress>() {
                Err(why) => report(format!("{path}.nodes[{index}]"), why),
                Ok(address) if self.tls.is_some() && !address.tls() => {
                    report(format!("{path}.nodes[{index}]"), "is not encrypted, so `tls` does not count; write rediss://".to_owned());
                }
                Ok(_) => {}
            }
        }
        match &self.tls {
            Some(RedisTls { cert: Some(_), key: None, .. }) => {
                report(format!("{path}.tls.cert"), "needs the certificate's private key; name its file with `key`".to_owned());
            }
            Some(RedisTls { cert: None, key: Some(_), .. }) => {
                report(format!("{path}.tls.key"), "needs the key's certificate; name its file with `cert`".to_owned());
            }
            _ => {}
        }
        if self.nodes.is_empty() {
            report(format!("{path}.nodes"), "needs at least one node".to_owned());
        }
        both_passwords(path, self.password_file.is_some() && self.password_env.is_some(), report);
    }
}
