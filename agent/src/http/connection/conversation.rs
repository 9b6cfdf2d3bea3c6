//! Conversations: the requests and answers on a connection of the API, and how long each part may take. `crowd` decides which connection makes room.
//!
//! A connection without a whole request makes room for the next visitor, so half requests shut no visitor out. An answer under way is not
//! cut while its visitor keeps up, which `pace` measures.

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

use super::crowd::{Crowd, Place};
use super::progress::Flushes;
use crate::telemetry::metrics::SelfMetrics;

/// A visitor has this long for the head of a request, and a connection for its next request. Longer would let half requests hold places.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// The longest head of a request. Tokens and cursors fit many times; more would only fill memory.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// A visitor may take nothing of an answer for this long. On a slow line, buffered bytes leave in large pieces.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Bytes that the operating system takes ahead of the line. With more, nothing would show for minutes whether a visitor takes an answer; with
/// less, a large answer takes many turns of the connection. A visitor that takes as little as it may needs 16 s for them.
const AHEAD_BYTES_MAX: u32 = 64 << 10;
/// A connection is kept this long, whatever it asks, so that no visitor holds a place for ever.
const LIFE_MAX: Duration = Duration::from_mins(10);
/// At the end of the agent, an answer under way may take this long.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(8);
/// At the end of the agent, a connection without a whole request has only this long: it has nothing to lose.
const LAST_HEAD_MAX: Duration = Duration::from_millis(200);
/// Pause after the agent's own operating system refused a connection. Without it, the loop would spin.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections and answers on them until `stop`. Answers under way are finished.
pub async fn serve(listener: TcpListener, router: Router, metrics: Arc<SelfMetrics>, stop: CancellationToken) {
    let mut crowd = Crowd::new(metrics);
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = conversations.join_next() => crowd.remove(ended.ok()),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some((id, place)) = crowd.admit(peer) {
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
                Err(err) if is_of_visitor(&err) => {}
                Err(err) => {
                    crowd.refused(&err);
                    sleep(REFUSED_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    while conversations.join_next().await.is_some() {}
}

/// Whether accepting failed because the visitor left meanwhile.
fn is_of_visitor(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused)
}

/// Answers on one connection to its end.
async fn converse(place: &Place, stream: TcpStream, router: Router, stop: CancellationToken) {
    // An answer of a few lines must not wait for the visitor's acknowledgement.
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
    // A visitor that breaks off or takes too long is not worth a log line.
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

/// Writes a refusal, as far as the socket takes it without waiting.
fn turn_away(stream: TcpStream) {
    const BODY: &str = r#"{"error":{"code":"unavailable","message":"all connections of this agent are being answered"}}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1";
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes());
    }
}
