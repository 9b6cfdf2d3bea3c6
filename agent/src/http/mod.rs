//! The outside surface: API, health, metrics. Handlers read the board or ask a narrow handle; none of them touches a database.

mod access;
mod connection;
mod error;
mod exposition;
pub mod operator;
mod routes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use pharos_model::agent_part::AgentPart;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

pub use self::access::{Access, Visitor};
use self::error::ApiError;
pub use self::routes::alert::event as history_item;
use self::routes::metrics::Exposition;
pub use self::routes::outbox::item as outbox_item;
use crate::board::{Board, PartHealth};
use crate::clock::Clock;
use crate::config::http::HttpConfig;
use crate::config::plugins::PluginConfig;
use crate::notify::Tester;
use crate::pipeline::Desk;
use crate::plugin::PluginHost;
use crate::store::Store;
use crate::telemetry::metrics::SelfMetrics;

/// An answer that takes longer is not one.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// What people send is a few lines.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Answers from this size on are compressed when the visitor takes that.
const COMPRESSED_FROM: u16 = 2 << 10;

/// What handlers may ask.
pub struct Api {
    pub board: Arc<Board>,
    pub plugins: PluginHost,
    pub plugin_config: BTreeMap<String, PluginConfig>,
    pub metrics: Arc<SelfMetrics>,
    pub access: Access,
    /// Names of the configured databases and Redis deployments.
    pub databases: Vec<String>,
    /// By database: mean execution time from which a statement counts as slow.
    pub slow_after: BTreeMap<String, Duration>,
    pub desk: Desk,
    pub tester: Tester,
    /// For reading.
    pub store: Store,
    pub clock: Clock,
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("http.listen: {0}")]
    Address(String),
    #[error("listening on {address}{}", hint(source))]
    Bind { address: SocketAddr, source: std::io::Error },
}

fn hint(source: &std::io::Error) -> &'static str {
    if source.kind() == std::io::ErrorKind::AddrInUse { " (is another agent running? change http.listen)" } else { "" }
}

/// Takes the port, before anything else is started.
pub async fn bind(config: &HttpConfig) -> Result<TcpListener, ListenError> {
    let address = config.address().map_err(ListenError::Address)?;
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Answers until told to stop; requests under way are finished.
pub async fn serve(listener: TcpListener, api: Arc<Api>, stop: CancellationToken) {
    let exposition = Arc::new(Exposition::default());
    let router = router(Arc::clone(&api), Arc::clone(&exposition));
    tokio::select! {
        () = connection::serve(listener, router, Arc::clone(&api.metrics), stop) => {}
        never = exposition.follow(&api) => match never {},
    }
}

type Shared = State<Arc<Api>>;

fn router(api: Arc<Api>, exposition: Arc<Exposition>) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({ "status": "alive" }))))
        .route("/readyz", get(ready))
        .route("/api/services/status", get(routes::services::list))
        .route("/api/plugins", get(routes::plugins::list))
        .route("/api/audit", get(routes::audit::list))
        .route("/api/database/metrics", get(routes::facts::metrics))
        .route("/api/database/slow-queries", get(routes::slow_queries::list))
        .route("/api/database/indexes", get(routes::indexes::list))
        .route("/api/database/locks", get(routes::locks::list))
        .route("/api/database/alerts", get(routes::alerts::list))
        .route("/api/alerts", get(routes::alerts::list))
        .route("/api/alerts/{fingerprint}", get(routes::alert::explain))
        .route("/api/alerts/{fingerprint}/acknowledgement", put(routes::alert::acknowledge).delete(routes::alert::unacknowledge))
        .route("/api/silences", get(routes::silences::list).post(routes::silences::add))
        .route("/api/silences/{id}", delete(routes::silences::expire))
        .route("/api/receivers/{name}/test", post(routes::receivers::test))
        .route("/api/outbox", get(routes::outbox::list))
        .route("/api/outbox/retry", post(routes::outbox::retry))
        .route("/api/outbox/drop", post(routes::outbox::drop_rows))
        .route("/metrics", get(move |api, headers| routes::metrics::show(api, headers, exposition)))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed().hint("the header `allow` names those it knows"))
        .fallback(async || ApiError::not_found("there is nothing at this path").hint("the API's paths begin with /api/"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), access::check))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), count))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(COMPRESSED_FROM)))
        .with_state(api)
}

/// Bounds and counts every answer, by its route's template: paths are the visitor's to choose.
async fn count(State(api): Shared, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let answer = tokio::time::timeout(REQUEST_MAX, next.run(request)).await;
    let response = answer.unwrap_or_else(|_| ApiError::timeout().into_response());
    api.metrics.add("pharos_http_requests_total", &[&route, response.status().as_str()], 1.0);
    response
}

/// Ready once no part is starting any more, each server and plugin having been tried, and as long as none has failed or stops.
/// A database or a receiver that is down is degraded, and the agent still ready.
async fn ready(State(api): Shared) -> Response {
    let parts = api.board.parts();
    let in_state = |state| parts.iter().filter(move |status| status.state == state).map(|status| &status.part).collect();
    let (waiting, failed): (Vec<&AgentPart>, Vec<&AgentPart>) = (in_state(PartHealth::Starting), in_state(PartHealth::Failed));
    let ready = parts.iter().all(|part| matches!(part.state, PartHealth::Ok | PartHealth::Degraded));
    let status = if ready { axum::http::StatusCode::OK } else { axum::http::StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "waiting_for": waiting, "failed": failed, "items": parts }))).into_response()
}
