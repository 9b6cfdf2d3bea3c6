//! Permissions of callers: which requests may read, and which may change something.
//!
//! A token identifies a caller: a token of `[[access.token]]`, or the operator's token in the data directory, which only the agent's own
//! user can read. Without configured tokens, every user of this machine may read if the request names a host of this agent. Changes always
//! need a token.
//!
//! A web page in a user's browser must not send requests in the user's name. So requests that change something must carry JSON, which an
//! HTML form cannot send. They must also name a host of this agent, which a foreign DNS name that resolves to its address is not.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use pharos_model::text::sha256;
use url::Url;

use super::error::ApiError;
use super::operation::Permission;
use crate::config::http::{AccessConfig, HttpConfig, Role, TokenConfig};
use crate::config::secret::Secret;

/// Name of the caller with the operator's token: the agent's own user, or root.
pub(super) const LOCAL: &str = "local";
/// Name of a caller without a token, who may only read.
const ANONYMOUS: &str = "anonymous";
/// Most characters in the name of an author.
const AUTHOR_CHARS_MAX: usize = 100;

/// Tokens, and the host names of this agent.
#[derive(Debug)]
pub struct Access {
    tokens: Vec<TokenConfig>,
    /// Whether a caller without a token may read.
    open: bool,
    hosts: Vec<String>,
}

/// The authenticated sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's name; `local` for the operator's token, `anonymous` without one.
    pub name: String,
    pub role: Role,
}

impl Caller {
    /// The author of a silence or acknowledgement. A claimed name that is not the caller's own is shown with the name of the token; the
    /// audit log has the name of the token in any case. A name that is too long is refused.
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
    /// Builds the rules of access. `operator` is the token in the data directory, if there is one.
    pub fn new(access: &AccessConfig, http: &HttpConfig, external_url: Option<&str>, operator: Option<&Secret>) -> Self {
        let external = external_url.and_then(|url| Url::parse(url).ok()).and_then(|url| url.host_str().map(str::to_owned));
        let hosts = http.hosts.iter().cloned().chain(external).map(|host| host.to_ascii_lowercase()).collect();
        let local = operator.map(|token| TokenConfig { name: LOCAL.to_owned(), role: Role::Operator, sha256: sha256(token.expose()) });
        Self { tokens: access.token.iter().cloned().chain(local).collect(), open: access.token.is_empty(), hosts }
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        if let Some(token) = bearer(headers) {
            let digest = sha256(token);
            // Digests are compared, so the time of the comparison reveals nothing about the token.
            let known = self.tokens.iter().find(|known| known.sha256.eq_ignore_ascii_case(&digest));
            let known = known.ok_or_else(|| ApiError::unauthorised("this agent does not know the token"))?;
            return Ok(Caller { name: known.name.clone(), role: known.role });
        }
        if !self.open {
            return Err(ApiError::unauthorised("this agent asks for a token").hint("send the header `Authorization: Bearer TOKEN`"));
        }
        // A web page under a foreign name that resolves to this agent has no token, so without tokens only the host name reveals such a
        // page.
        if !self.is_own_host(host(headers)) {
            return Err(strange_host());
        }
        Ok(Caller { name: ANONYMOUS.to_owned(), role: Role::Viewer })
    }

    /// Identifies the caller by the headers and checks the permission. `None` for [`Permission::Anyone`]: then no token is read.
    pub fn admit(&self, headers: &HeaderMap, permission: Permission) -> Result<Option<Caller>, ApiError> {
        if permission == Permission::Anyone {
            return Ok(None);
        }
        // A proxy and the agent could choose different ones of two Host headers (RFC 9112, 3.2).
        if headers.get_all(HOST).iter().nth(1).is_some() {
            return Err(ApiError::bad_request("the request has more than one Host header"));
        }
        let caller = self.caller(headers)?;
        let objection = match permission {
            Permission::Operator(refusal) if caller.role < Role::Operator => {
                Some(ApiError::forbidden(refusal).hint("use a token with the role operator or admin"))
            }
            Permission::Change => self.objection(&caller, headers),
            Permission::Anyone | Permission::Viewer | Permission::Operator(_) => None,
        };
        objection.map_or(Ok(Some(caller)), Err)
    }

    /// Why a request may not change anything. `None`: it may.
    fn objection(&self, caller: &Caller, headers: &HeaderMap) -> Option<ApiError> {
        if caller.role < Role::Operator {
            return Some(match caller.name.as_str() {
                ANONYMOUS => ApiError::unauthorised("without a token everything can be read and nothing can be changed").hint(
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
        (!self.is_own_host(host(headers))).then(strange_host)
    }

    /// Whether the host is `localhost`, a configured name or an IP address. An IP address is safe: no DNS entry can redirect it.
    fn is_own_host(&self, host: &str) -> bool {
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

/// The token of `Authorization: Bearer TOKEN`. Upper and lower case of the scheme do not matter (RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, AUTHORIZATION).trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
