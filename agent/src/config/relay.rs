//! `[relay.NAME]`: the mail servers that notifiers may send through.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lettre::message::Mailbox;
use serde::Deserialize;

use super::secret::SecretSource;
use super::shape::{Key, Shape, key, required};

/// A mail server that accepts mails for delivery.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayConfig {
    pub host: String,
    /// The TCP port. `None`: the port of the encryption: 587, 465 or 25.
    pub port: Option<u16>,
    /// The sender of every mail: `Pharos <pharos@example.com>`, or the address alone.
    pub from: String,
    #[serde(default)]
    pub encryption: Encryption,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
    /// The PEM file of the certificates to trust. `None`: the certificates of the operating system.
    pub ca: Option<PathBuf>,
    /// The name in the greeting of the agent. `None`: its address on this connection.
    pub hello: Option<String>,
    /// The deadline of the connection: name, TCP, greeting and TLS together.
    #[serde(default = "default_connect_timeout", with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// The deadline of one mail, connection included.
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
}

fn default_connect_timeout() -> Duration {
    Duration::from_secs(4)
}

/// The longest deadline. It is shorter than the wall time of a notifier, so that the plugin gets the error.
fn default_timeout() -> Duration {
    Duration::from_secs(9)
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// The session begins in clear text with the greeting. It ends there unless the relay starts TLS.
    #[default]
    StartTls,
    /// Encrypted from the first byte.
    Tls,
    /// Clear text. A password is never sent over it.
    None,
}

pub(crate) const RELAY_KEYS: &[Key] = &[
    required("host", Shape::Text),
    key("port", Shape::Integer { min: 1, max: 65_535 }),
    required("from", Shape::Text),
    key("encryption", Shape::OneOf(&["starttls", "tls", "none"])),
    key("username", Shape::Text),
    key("password_file", Shape::Text),
    key("password_env", Shape::Text),
    key("ca", Shape::Text),
    key("hello", Shape::Text),
    key("connect_timeout", Shape::Duration),
    key("timeout", Shape::Duration),
];

impl RelayConfig {
    /// The configured port, or the usual port of the encryption (RFC 8314).
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.encryption {
            Encryption::StartTls => 587,
            Encryption::Tls => 465,
            Encryption::None => 25,
        })
    }

    pub fn password(&self) -> Option<SecretSource> {
        SecretSource::from_keys(self.password_file.as_ref(), self.password_env.as_ref())
    }

    pub fn resolve_paths(&mut self, base: &Path) {
        for path in [&mut self.password_file, &mut self.ca].into_iter().flatten() {
            *path = base.join(&path);
        }
    }

    pub fn validate(&self, path: &str, mut report: impl FnMut(String, String)) {
        let mut report = |key: &str, why: &str| report(format!("{path}.{key}"), why.to_owned());
        if url::Host::parse(self.host.trim_matches(['[', ']'])).is_err() && self.host.parse::<std::net::IpAddr>().is_err() {
            report("host", "is no host name or address; write it without scheme, and the port under `port`");
        }
        if let Err(err) = self.from.parse::<Mailbox>() {
            report("from", &format!("is no sender like \"Pharos <pharos@example.com>\": {err}"));
        } else if !self.from.rsplit_once('<').map_or(self.from.as_str(), |(_, address)| address).is_ascii() {
            report("from", "has an address outside of ASCII; write its domain as xn--...");
        }
        self.validate_login(&mut report);
        if self.hello.as_ref().is_some_and(|hello| !is_hello(hello)) {
            report("hello", "is no host name like \"monitor.example.com\"");
        }
        if self.connect_timeout.is_zero() {
            report("connect_timeout", "must not be 0");
        }
        if self.timeout <= self.connect_timeout {
            report("timeout", "must be longer than connect_timeout, which is a part of it");
        }
    }

    fn validate_login(&self, report: &mut impl FnMut(&str, &str)) {
        if self.password_file.is_some() && self.password_env.is_some() {
            report("password_env", "password_file and password_env are both set; keep one");
        }
        match (&self.username, self.password()) {
            (Some(_), _) if self.encryption == Encryption::None => {
                report("username", "a login over clear text is not allowed; set encryption = \"starttls\" or \"tls\", or remove username");
            }
            (Some(_), None) => report("username", "needs a password: password_file or password_env"),
            (None, Some(SecretSource::File(_))) => report("password_file", "needs a username"),
            (None, Some(SecretSource::Env(_))) => report("password_env", "needs a username"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        if self.ca.is_some() && self.encryption == Encryption::None {
            report("ca", "has no meaning over clear text; remove it, or set encryption");
        }
    }
}

fn is_hello(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte))
}
