//! Connections of the API: how many there are, how long each may take, and which one makes room.
//!
//! A connection without a whole request holds nobody else up: when all places are taken, the one that has been without longest makes room
//! for the next visitor, so half requests shut nobody out. Only while every place is busy with an answer is a visitor turned away. An
//! answer is not cut before it has had half a minute.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::answer::{Flushes, Progress};
use crate::lifecycle::descriptors_max;
use crate::telemetry::metrics::SelfMetrics;

/// Connections at the same time, as far as the limit of open files allows: three quarters of that are for everything else.
const CONNECTIONS_MAX: usize = 64;
/// How long a visitor may take for the head of a request, and how long a connection may stay without one.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long a visitor may take nothing of an answer.
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long one connection is kept, whatever it asks.
const LIFE_MAX: Duration = Duration::from_mins(10);
/// At the end of the agent: how long an answer under way may take, and a connection without a whole request.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(8);
const LAST_HEAD_MAX: Duration = Duration::from_millis(200);
/// How long nothing is accepted after our own operating system refused it.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Answers on a listener until told to stop.
pub async fn serve(listener: TcpListener, router: Router, metrics: Arc<SelfMetrics>, stop: CancellationToken) {
    let mut crowd = Crowd::new(metrics);
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = conversations.join_next() => crowd.left(ended.ok()),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some((id, place)) = crowd.admit(peer) {
                        let router = router.clone();
                        let stop = stop.clone();
                        conversations.spawn(async move {
                            place.converse(stream, router, stop).await;
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

/// All connections there are, the oldest first.
struct Crowd {
    next: u64,
    places: BTreeMap<u64, Arc<Place>>,
    max: usize,
    /// Whether visitors were turned away since there was room last.
    is_full: bool,
    is_refused: bool,
    metrics: Arc<SelfMetrics>,
}

impl Crowd {
    fn new(metrics: Arc<SelfMetrics>) -> Self {
        for reason in ["made-room", "no-room", "own-limit"] {
            metrics.add("pharos_http_connections_ended_total", &[reason], 0.0);
        }
        let max = usize::try_from(descriptors_max() / 4).unwrap_or(usize::MAX).clamp(1, CONNECTIONS_MAX);
        let crowd = Self { next: 0, places: BTreeMap::new(), max, is_full: false, is_refused: false, metrics };
        crowd.show();
        crowd
    }

    /// A place for a visitor, for which another one may have to leave; none while all of them are being answered.
    fn admit(&mut self, peer: SocketAddr) -> Option<(u64, Arc<Place>)> {
        self.is_refused = false;
        if self.places.len() >= self.max && !self.make_room() {
            self.count("no-room");
            if !std::mem::replace(&mut self.is_full, true) {
                warn!(connections = self.places.len(), "all connections of the API are being answered; others are turned away meanwhile");
            }
            return None;
        }
        let place = Arc::new(Place { peer: peer.ip(), leave: CancellationToken::new(), progress: Progress::new() });
        self.next += 1;
        self.places.insert(self.next, Arc::clone(&place));
        self.show();
        Some((self.next, place))
    }

    /// Ends the oldest connection without a whole request, or whose answer takes too long, of the address that has most of them.
    fn make_room(&mut self) -> bool {
        let idle = || self.places.iter().filter(|(_, place)| !place.progress.is_undisturbed());
        let mut by_peer: BTreeMap<IpAddr, usize> = BTreeMap::new();
        idle().for_each(|(_, place)| *by_peer.entry(place.peer).or_default() += 1);
        let Some(crowded) = by_peer.into_iter().max_by_key(|(_, count)| *count).map(|(peer, _)| peer) else { return false };
        let Some(id) = idle().find(|(_, place)| place.peer == crowded).map(|(id, _)| *id) else { return false };
        if let Some(place) = self.places.remove(&id) {
            place.leave.cancel();
        }
        self.count("made-room");
        true
    }

    fn left(&mut self, id: Option<u64>) {
        match id {
            Some(id) => drop(self.places.remove(&id)),
            // It panicked, and took its number along.
            None => self.places.retain(|_, place| Arc::strong_count(place) > 1),
        }
        self.show();
        if self.is_full && self.places.len() < self.max {
            self.is_full = false;
            info!("the API has room for connections again");
        }
    }

    /// Our own operating system gives us no connection: it is out of descriptors or memory.
    fn refused(&mut self, err: &io::Error) {
        self.count("own-limit");
        self.metrics.add("pharos_own_limit_total", &["http"], 1.0);
        self.make_room();
        if !std::mem::replace(&mut self.is_refused, true) {
            let limit = descriptors_max();
            warn!(error = %err, limit, "the agent's own system gives it no connection; its limit of open files is {limit}");
        }
    }

    fn count(&self, reason: &str) {
        self.metrics.add("pharos_http_connections_ended_total", &[reason], 1.0);
    }

    fn show(&self) {
        self.metrics.set("pharos_http_connections", &[], self.places.len() as f64);
    }
}

/// One connection.
struct Place {
    peer: IpAddr,
    /// Cancelled when it has to make room.
    leave: CancellationToken,
    /// How far its answer is.
    progress: Arc<Progress>,
}

impl Place {
    async fn converse(self: Arc<Self>, stream: TcpStream, router: Router, stop: CancellationToken) {
        // An answer of a few lines must not wait for the visitor's acknowledgement.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(STALL_MAX));
        let stream = Flushes::new(stream, Arc::clone(&self.progress));
        let router = TowerToHyperService::new(router);
        let service = service_fn(|request: hyper::Request<Incoming>| {
            self.progress.begin();
            let answer = router.call(request.map(Body::new));
            async { answer.await.map(|answer| answer.map(|body| self.progress.watch(body))) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_BYTES_MAX);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let over_at = Instant::now() + LIFE_MAX;
        // A visitor who breaks off, or takes too long, is no news.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.leave.cancelled() => return,
            () = tokio::time::sleep_until(over_at) => {}
            () = stop.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let is_answering = self.progress.is_answering();
        let _ = timeout(if is_answering { LAST_ANSWER_MAX } else { LAST_HEAD_MAX }, connection).await;
    }
}

/// Says why, as far as that goes without waiting.
fn turn_away(stream: TcpStream) {
    const BODY: &str = r#"{"error":{"code":"unavailable","message":"all connections of this agent are being answered"}}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\nretry-after: 1";
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes());
    }
}
