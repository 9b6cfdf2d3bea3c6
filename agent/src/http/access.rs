//! Who may ask: anybody while the listener is on loopback and no tokens are configured, else whoever brings one.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Api;
use super::error::ApiError;
use crate::config::http::AccessConfig;

/// Everything here is reading, which every role may; alive is for anybody to know.
pub async fn check(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/healthz" || api.access.token.is_empty() || is_known(&api.access, &request) {
        return next.run(request).await;
    }
    let error = ApiError::unauthorised("this agent asks for a token").hint("send the header `Authorization: Bearer TOKEN`");
    error.into_response()
}

fn is_known(access: &AccessConfig, request: &Request) -> bool {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(token) = header.and_then(|header| header.strip_prefix("Bearer ")) else { return false };
    let digest: String = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    // Digests are compared, so the time taken tells nothing of the token.
    access.token.iter().any(|known| known.sha256.eq_ignore_ascii_case(&digest))
}
