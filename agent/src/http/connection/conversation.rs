//! Serves requests on one connection of the API and bounds the time of each step. `open_connections` chooses which one is closed to make
//! room.
//!
//! A connection without a complete request may be closed for the next client, so incomplete requests cannot shut clients out. An answer in
//! progress is not cut off while its client reads fast enough, which `pace` measures.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::open_connections::{OpenConnections, Place};
use super::progress::Flushes;
use crate::telemetry::metrics::SelfMetrics;

/// Longest wait for the head of a request, and for the next request on a connection. A longer wait would let incomplete requests hold
/// places.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Largest head of a request, in bytes. Tokens and cursors fit many times; more would only fill memory.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Longest time in which a client may read nothing of an answer. On a slow line, buffered bytes leave in large pieces.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Most unsent bytes that the operating system buffers for a connection. With more, a client that reads nothing would not be noticed for
/// minutes; with less, a large answer needs many writes. The slowest client that is allowed reads them in 16 s.
const AHEAD_BYTES_MAX: u32 = 64 << 10;
/// Longest life of a connection, whatever it requests, so that no client holds a place for ever.
const LIFE_MAX: Duration = Duration::from_mins(10);
/// Longest time for an answer in progress when the agent stops.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(8);
/// Longest time for a connection without a complete request when the agent stops. No answer is lost with it, so the time is short.
const LAST_HEAD_MAX: Duration = Duration::from_millis(200);
/// Pause after the agent's own operating system refused a connection. Without it, the loop would spin.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and answers on them until `stop`. Answers in progress are finished.
pub(crate) async fn serve(listener: TcpListener, router: Router, metrics: Arc<SelfMetrics>, stop: CancellationToken) {
    let mut connections = OpenConnections::new(metrics);
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = conversations.join_next() => connections.remove(ended.ok()),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some((id, place)) = connections.admit(peer) {
                        let router = router.clone();
                        let stop = stop.clone();
                        conversations.spawn(async move {
                            converse(&place, stream, router, stop).await;
                            id
                        });
                    } else {
                        turn_away(stream);
                    }
                }
                Err(err) if is_of_client(&err) => {}
                Err(err) => {
                    connections.refused(&err);
                    sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while conversations.join_next().await.is_some() {}
}

/// Whether accepting failed because the client has already disconnected.
fn is_of_client(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

/// Answers all requests on one connection.
async fn converse(place: &Place, stream: TcpStream, router: Router, stop: CancellationToken) {
    // An answer of a few lines must not wait for the client's acknowledgement.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_notsent_lowat(AHEAD_BYTES_MAX);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALL_MAX));
    let stream = Flushes::new(stream, Arc::clone(&place.progress));
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        place.progress.begin();
        let answer = router.call(request.map(Body::new));
        async { answer.await.map(|answer| answer.map(|body| place.progress.watch(body))) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let over_at = Instant::now() + LIFE_MAX;
    // A client that disconnects or is too slow is not logged: clients could fill the log.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = place.leave.cancelled() => return,
        () = tokio::time::sleep_until(over_at) => {}
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let is_answering = place.progress.is_answering();
    let _ = timeout(if is_answering { LAST_ANSWER_MAX } else { LAST_HEAD_MAX }, connection).await;
}

/// Writes a refusal without waiting. The part that the socket does not accept at once is not sent.
fn turn_away(stream: TcpStream) {
    const BODY: &str = r#"{"error":{"code":"unavailable","message":"all connections of this agent are being answered"}}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1";
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes());
    }
}
