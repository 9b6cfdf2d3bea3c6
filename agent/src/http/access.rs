//! Who may ask, and who may change something.
//!
//! Anybody may ask while the listener is on loopback and no tokens are configured, else whoever brings one; changing asks for the role of
//! an operator. A web page that somebody has open must not change anything behind their back: changing requests carry JSON, which a form
//! cannot, and name a host that is ours, which a name that was pointed at us is not.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use url::Url;

use super::Api;
use super::error::ApiError;
use crate::config::http::{AccessConfig, HttpConfig, Role, TokenConfig};

/// Tokens, and the names under which people reach this agent.
#[derive(Debug)]
pub struct Access {
    tokens: Vec<TokenConfig>,
    hosts: Vec<String>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// The token's name; `local` where none is asked for.
    pub name: String,
    pub role: Role,
}

impl Access {
    pub fn new(access: &AccessConfig, http: &HttpConfig, external_url: Option<&str>) -> Self {
        let external = external_url.and_then(|url| Url::parse(url).ok()).and_then(|url| url.host_str().map(str::to_owned));
        let hosts = http.hosts.iter().cloned().chain(external).map(|host| host.to_ascii_lowercase()).collect();
        Self { tokens: access.token.clone(), hosts }
    }

    fn visitor(&self, headers: &HeaderMap) -> Option<Visitor> {
        if self.tokens.is_empty() {
            return Some(Visitor { name: "local".to_owned(), role: Role::Admin });
        }
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let digest: String = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        // Digests are compared, so the time taken tells nothing of the token.
        let known = self.tokens.iter().find(|known| known.sha256.eq_ignore_ascii_case(&digest))?;
        Some(Visitor { name: known.name.clone(), role: known.role })
    }

    /// Why a request may not change anything, whoever sends it.
    fn objection(&self, headers: &HeaderMap) -> Option<ApiError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if media != "application/json" {
            let error = ApiError::unsupported_media("a request that changes something carries JSON");
            return Some(error.hint("send the header `content-type: application/json`"));
        }
        if !self.knows(text(HOST)) {
            let error = ApiError::forbidden("this agent is not known under that host name");
            return Some(error.hint("use its address, or add the name to http.hosts"));
        }
        None
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

/// Lets a request in or says why not. Alive is for anybody to know.
pub async fn check(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    if request.uri().path() == "/healthz" {
        return next.run(request).await;
    }
    let Some(visitor) = api.access.visitor(request.headers()) else {
        let error = ApiError::unauthorised("this agent asks for a token").hint("send the header `Authorization: Bearer TOKEN`");
        return error.into_response();
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        if visitor.role < Role::Operator {
            return ApiError::forbidden(format!("the token `{}` may read and not change anything", visitor.name))
                .hint("use one with the role operator or admin")
                .into_response();
        }
        if let Some(error) = api.access.objection(request.headers()) {
            return error.into_response();
        }
    }
    request.extensions_mut().insert(visitor);
    next.run(request).await
}
