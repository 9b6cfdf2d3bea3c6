//! `[http]` and `[[access.token]]`: the address of the API, and the tokens that it accepts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use pharos_model::text::sha256;
use serde::Deserialize;

use super::shape::{Key, Shape, key, required};

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port of the API; port 0 takes a free one.
    pub listen: String,
    /// Host names of the API, besides addresses, `localhost` and the host of `agent.external_url`.
    pub hosts: Vec<String>,
}

pub const HTTP_KEYS: &[Key] = &[key("listen", Shape::Text), key("hosts", Shape::List(&Shape::Text))];

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9465".to_owned(), hosts: Vec::new() }
    }
}

impl HttpConfig {
    pub fn address(&self) -> Result<SocketAddr, String> {
        self.listen.parse().map_err(|_| format!("`{}` is not an address and port like \"127.0.0.1:9465\"", self.listen))
    }
}

/// Tokens of the API, which a listener off loopback needs. Without tokens, every local user may read. The user of the agent has another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccessConfig {
    pub token: Vec<TokenConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    pub name: String,
    pub role: Role,
    /// Hex SHA-256 of the token, so that the file holds no secret.
    pub sha256: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

pub const ACCESS_KEYS: &[Key] = &[key(
    "token",
    Shape::List(&Shape::Table(&[
        required("name", Shape::Text),
        required("role", Shape::OneOf(&["viewer", "operator", "admin"])),
        required("sha256", Shape::Text),
    ])),
)];

/// Checks the listener and the tokens together; `report(path, message)` takes each problem.
pub fn validate(http: &HttpConfig, access: &AccessConfig, mut report: impl FnMut(String, String)) {
    match http.address() {
        Err(why) => report("http.listen".to_owned(), why),
        Ok(address) if !address.ip().is_loopback() && access.token.is_empty() => report(
            "http.listen".to_owned(),
            format!("`{address}` is reachable from other machines but no token protects it; listen on 127.0.0.1 or add [[access.token]]"),
        ),
        Ok(_) => {}
    }
    for (index, host) in http.hosts.iter().enumerate().filter(|(_, host)| !is_host_name(host)) {
        report(
            format!("http.hosts[{index}]"),
            format!("\"{host}\" is no host name like \"pharos.example.com\"; leave out scheme, port and path"),
        );
    }
    let mut seen = BTreeMap::new();
    for (index, token) in access.token.iter().enumerate() {
        let digest = token.sha256.to_ascii_lowercase();
        if let Some(word) = GUESSED.iter().find(|word| sha256(word) == digest) {
            report(
                format!("access.token[{index}].sha256"),
                format!("is the digest of \"{word}\", which others guess; make a token with `openssl rand -hex 32`"),
            );
        }
        if let Some(first) = seen.insert(digest, &token.name) {
            report(format!("access.token[{index}].sha256"), format!("is the token of \"{first}\" as well; give each its own"));
        }
        if token.sha256.len() != 64 || !token.sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            report(
                format!("access.token[{index}].sha256"),
                "must be the 64 hex digits of the token's SHA-256, as `printf %s TOKEN | sha256sum` prints them".to_owned(),
            );
        }
    }
}

/// Tokens that attackers try first, those of examples among them.
const GUESSED: [&str; 10] = ["", "TOKEN", "admin", "changeme", "grafana", "password", "pharos", "secret", "test", "token"];

/// True if a text can be the name in a Host header, without its port.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.chars().all(|char| char.is_alphanumeric() || "-_".contains(char));
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(is_label) || text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}
