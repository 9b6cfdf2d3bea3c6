//! All areas behind one router, and the task that answers on the listener.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::access::Access;
use super::connection;
use super::error::ApiError;
use super::exposition::Exposition;
use super::openapi;
use super::operation::Permission;
use super::route::Area;
use crate::config::http::HttpConfig;
use crate::telemetry::metrics::SelfMetrics;

/// Size in bytes from which answers are compressed, if the client accepts that.
const COMPRESSED_FROM: u16 = 2 << 10;

/// Everything that is served, and the rules of access.
pub struct Site {
    pub areas: Vec<Area>,
    pub access: Access,
    pub exposition: Arc<Exposition>,
    /// Counts requests and connections.
    pub metrics: Arc<SelfMetrics>,
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

/// Opens the listener. Called before anything else is started, so that a taken port stops the start.
pub(crate) async fn bind(config: &HttpConfig) -> Result<TcpListener, ListenError> {
    let address = config.address().map_err(ListenError::Address)?;
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

impl Site {
    /// Answers requests until `stop`. Requests in progress are finished.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let (exposition, metrics) = (Arc::clone(&self.exposition), Arc::clone(&self.metrics));
        tokio::select! {
            () = connection::serve(listener, self.router(), metrics, stop) => {}
            never = exposition.follow() => match never {},
        }
    }

    fn router(self) -> Router {
        let Self { mut areas, access, metrics, .. } = self;
        let access = Arc::new(access);
        areas.push(openapi::area(&areas));
        let routes = areas.into_iter().flat_map(|area| area.guarded(&access));
        routes
            .fold(Router::new(), |router, (path, route)| router.route(path, route))
            .method_not_allowed_fallback(refusal(&access, ApiError::method_not_allowed))
            .fallback(refusal(&access, || ApiError::not_found("there is nothing at this path").hint("the API's paths begin with /api/")))
            .layer(middleware::from_fn_with_state(metrics, count))
            .layer(CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(COMPRESSED_FROM)))
    }
}

/// Answers requests without a route. The caller is checked as for a route, so that strangers do not learn which paths exist.
fn refusal(
    access: &Arc<Access>,
    error: fn() -> ApiError,
) -> impl Fn(Method, HeaderMap) -> std::future::Ready<ApiError> + Clone + Send + Sync + 'static {
    let access = Arc::clone(access);
    move |method, headers| {
        let reads = matches!(method, Method::GET | Method::HEAD | Method::OPTIONS);
        let permission = if reads { Permission::Viewer } else { Permission::Change };
        std::future::ready(access.admit(&headers, permission).map_or_else(|refused| refused, |_| error()))
    }
}

/// Counts every answer by the template of its route. Paths would be labels without bound, since callers choose them.
async fn count(State(metrics): State<Arc<SelfMetrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    metrics.add("pharos_http_requests_total", &[&route, response.status().as_str()], 1.0);
    response
}
