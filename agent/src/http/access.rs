//! Permissions of visitors: which requests may read, and which may change something.
//!
//! A visitor is known by a token: one of `[[access.token]]`, or the operator's token that the agent keeps in its data directory, where only
//! its own user can read it. Without configured tokens everybody on this machine may read, under a name that is ours; nobody may change
//! anything without a token. A web page that somebody has open must not act behind their back: changing requests carry JSON, which a form
//! cannot, and requests name a host that is ours, which a name that was pointed at us is not.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use pharos_model::text::sha256;
use url::Url;

use super::error::ApiError;
use super::operation::Permission;
use crate::config::http::{AccessConfig, HttpConfig, Role, TokenConfig};
use crate::config::secret::Secret;

/// The visitor who holds the operator's token: the agent's own user, or root.
pub const LOCAL: &str = "local";
/// A visitor without a token, who may read.
const ANONYMOUS: &str = "anonymous";
/// The longest name that somebody may give as the author of words.
const AUTHOR_CHARS_MAX: usize = 100;

/// Tokens, and the names under which people reach this agent.
#[derive(Debug)]
pub struct Access {
    tokens: Vec<TokenConfig>,
    /// Whether a visitor without a token may read.
    open: bool,
    hosts: Vec<String>,
}

/// The sender of a request, as far as its token shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The token's name; `local` for the operator's token, `anonymous` without one.
    pub name: String,
    pub role: Role,
}

impl Visitor {
    /// The author of words that this visitor sends. A name in the body is a claim; the audit log has the visitor's own name.
    pub fn author(&self, claimed: Option<String>) -> Result<String, ApiError> {
        let Some(claimed) = claimed else { return Ok(self.name.clone()) };
        if claimed.chars().count() > AUTHOR_CHARS_MAX {
            return Err(ApiError::bad_request(format!("`author`: at most {AUTHOR_CHARS_MAX} characters")));
        }
        let is_proven = claimed == self.name || self.name == LOCAL;
        Ok(if is_proven { claimed } else { format!("{claimed} (with the token `{}`)", self.name) })
    }
}

impl Access {
    /// `operator` is the token of the data directory, if there is one.
    pub fn new(access: &AccessConfig, http: &HttpConfig, external_url: Option<&str>, operator: Option<&Secret>) -> Self {
        let external = external_url.and_then(|url| Url::parse(url).ok()).and_then(|url| url.host_str().map(str::to_owned));
        let hosts = http.hosts.iter().cloned().chain(external).map(|host| host.to_ascii_lowercase()).collect();
        let local = operator.map(|token| TokenConfig { name: LOCAL.to_owned(), role: Role::Operator, sha256: sha256(token.expose()) });
        Self { tokens: access.token.iter().cloned().chain(local).collect(), open: access.token.is_empty(), hosts }
    }

    fn visitor(&self, headers: &HeaderMap) -> Result<Visitor, ApiError> {
        if let Some(token) = bearer(headers) {
            let digest = sha256(token);
            // Digests are compared, so the time taken tells nothing of the token.
            let known = self.tokens.iter().find(|known| known.sha256.eq_ignore_ascii_case(&digest));
            let known = known.ok_or_else(|| ApiError::unauthorised("this agent does not know the token"))?;
            return Ok(Visitor { name: known.name.clone(), role: known.role });
        }
        if !self.open {
            return Err(ApiError::unauthorised("this agent asks for a token").hint("send the header `Authorization: Bearer TOKEN`"));
        }
        // A token cannot be had by a page whose name was pointed at us; without one only the name tells such a page.
        if !self.knows(host(headers)) {
            return Err(strange_host());
        }
        Ok(Visitor { name: ANONYMOUS.to_owned(), role: Role::Viewer })
    }

    /// The visitor who sends these headers, if the visitor has this permission. Where none is asked for, no visitor is looked at.
    pub fn admit(&self, headers: &HeaderMap, permission: Permission) -> Result<Option<Visitor>, ApiError> {
        if permission == Permission::Anyone {
            return Ok(None);
        }
        // A proxy and the agent would read two of them differently (RFC 9112, 3.2).
        if headers.get_all(HOST).iter().nth(1).is_some() {
            return Err(ApiError::bad_request("the request has more than one Host header"));
        }
        let visitor = self.visitor(headers)?;
        let objection = match permission {
            Permission::Operator(refusal) if visitor.role < Role::Operator => {
                Some(ApiError::forbidden(refusal).hint("use a token with the role operator or admin"))
            }
            Permission::Change => self.objection(&visitor, headers),
            Permission::Anyone | Permission::Viewer | Permission::Operator(_) => None,
        };
        objection.map_or(Ok(Some(visitor)), Err)
    }

    /// Why a request may not change anything.
    fn objection(&self, visitor: &Visitor, headers: &HeaderMap) -> Option<ApiError> {
        if visitor.role < Role::Operator {
            return Some(match visitor.name.as_str() {
                ANONYMOUS => ApiError::unauthorised("without a token everything can be read and nothing changed").hint(
                    "`pharos` as the agent's own user takes the token from operator.token in agent.data_dir; \
                     give others a [[access.token]] with the role operator",
                ),
                name => ApiError::forbidden(format!("the token `{name}` may read and not change anything"))
                    .hint("use one with the role operator or admin"),
            });
        }
        let media = text(headers, CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media != "application/json" {
            let error = ApiError::unsupported_media("a request that changes something carries JSON");
            return Some(error.hint("send the header `content-type: application/json`"));
        }
        (!self.knows(host(headers))).then(strange_host)
    }

    /// An address cannot be pointed elsewhere, so every one is ours.
    fn knows(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }
}

fn strange_host() -> ApiError {
    ApiError::forbidden("this agent is not known under that host name").hint("use its address, or add the name to http.hosts")
}

fn text(headers: &HeaderMap, name: axum::http::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn host(headers: &HeaderMap) -> &str {
    text(headers, HOST)
}

/// The token of `Authorization: Bearer TOKEN`; the scheme's case does not matter (RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, AUTHORIZATION).trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
