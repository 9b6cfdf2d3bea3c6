//! An HTTP receiver of Alertmanager webhooks, version 4, for the demo and the tests.
//!
//! Every request is stored whole, refused ones included. Only a request that was answered with success counts as delivered, since the
//! sender must retry the others.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::port::HOST;

/// Stored deliveries, more than any test makes. Older ones are removed, but stay counted.
const DELIVERIES_MAX: usize = 10_000;

#[derive(Debug, thiserror::Error)]
#[error("opening a port for the demo's receiver")]
pub struct ReceiverError {
    #[from]
    source: io::Error,
}

/// A request with its answer.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub status: StatusCode,
    /// The alerts of the body; empty if the body is no webhook.
    pub alerts: Vec<Alert>,
}

/// An alert of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    pub fingerprint: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// The number of deliveries of an alert name, by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub firing: usize,
    pub resolved: usize,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub delay: Duration,
    /// True if the message counts as arrived before the delay. Otherwise a sender that leaves during the delay delivered nothing.
    pub has_it: bool,
}

impl Reply {
    pub fn of(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), delay: Duration::ZERO, has_it: false }
    }
}

/// Everything that arrived so far.
#[derive(Debug, Default)]
pub struct Received {
    deliveries: VecDeque<Delivery>,
    counts: BTreeMap<String, Count>,
}

impl Received {
    /// The newest 10,000 requests, oldest first.
    pub fn deliveries(&self) -> impl DoubleEndedIterator<Item = &Delivery> {
        self.deliveries.iter()
    }

    /// The number of successful deliveries of this alert name.
    pub fn count(&self, alertname: &str) -> Count {
        self.counts.get(alertname).copied().unwrap_or_default()
    }

    pub fn counts(&self) -> &BTreeMap<String, Count> {
        &self.counts
    }

    fn push(&mut self, delivery: Delivery) {
        if delivery.status.is_success() {
            for alert in &delivery.alerts {
                let count = self.counts.entry(alert.name().to_owned()).or_default();
                match alert.status.as_str() {
                    "resolved" => count.resolved += 1,
                    _ => count.firing += 1,
                }
            }
        }
        if self.deliveries.len() == DELIVERIES_MAX {
            self.deliveries.pop_front();
        }
        self.deliveries.push_back(delivery);
    }
}

/// A handle on the receiver, which runs as a task until its token is cancelled.
#[derive(Clone)]
pub struct Receiver {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    received: watch::Sender<Received>,
    lines: Option<mpsc::Sender<String>>,
    stop: CancellationToken,
}

struct Script {
    next: VecDeque<Reply>,
    otherwise: Reply,
}

impl Receiver {
    /// Listens on a free port of the loopback. `lines` gets a line for each alert delivered.
    pub async fn start(lines: Option<mpsc::Sender<String>>, tasks: &TaskTracker, stop: &CancellationToken) -> Result<Self, ReceiverError> {
        let listener = TcpListener::bind((HOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let script = Mutex::new(Script { next: VecDeque::new(), otherwise: Reply::of(StatusCode::OK) });
        let received = watch::Sender::new(Received::default());
        let shared = Arc::new(Shared { script, received, lines, stop: stop.clone() });
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::warn!(%error, "the demo's receiver ended");
            }
        });
        Ok(Self { port, shared })
    }

    pub fn url(&self) -> String {
        format!("http://{HOST}:{}/alerts", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Answers the next requests with these replies, one each. Later requests are answered as before.
    pub fn reply_next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.script().next.extend(replies);
    }

    /// Removes the replies for the next requests.
    pub fn clear_replies(&self) {
        self.shared.script().next.clear();
    }

    /// Answers every request that has no reply of its own like this; at first that is a plain 200.
    pub fn reply_otherwise(&self, reply: Reply) {
        self.shared.script().otherwise = reply;
    }

    /// Inspects the requests so far. New requests wait meanwhile, so `inspect` must be brief.
    pub fn received<T>(&self, inspect: impl FnOnce(&Received) -> T) -> T {
        inspect(&self.shared.received.borrow())
    }

    /// Waits until the requests satisfy the condition. Returns false at the deadline.
    pub async fn wait_until(&self, deadline: Duration, condition: impl FnMut(&Received) -> bool) -> bool {
        let mut received = self.shared.received.subscribe();
        matches!(timeout(deadline, received.wait_for(condition)).await, Ok(Ok(_)))
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        // Replies are pushed and taken whole, so a panic elsewhere leaves nothing half-done.
        self.script.lock()
    }

    fn take_reply(&self) -> Reply {
        let mut script = self.script();
        script.next.pop_front().unwrap_or_else(|| script.otherwise.clone())
    }

    /// Prints the alerts of a delivery that succeeds, and adds the delivery to what arrived.
    fn record(&self, delivery: Delivery) {
        if delivery.status.is_success() {
            self.announce(&delivery.alerts);
        }
        self.received.send_modify(|received| received.push(delivery));
    }

    fn announce(&self, alerts: &[Alert]) {
        let Some(lines) = &self.lines else { return };
        for alert in alerts {
            // A slow terminal must not delay a delivery. The line is lost, but not the delivery.
            let _ = lines.try_send(alert.line());
        }
    }
}

async fn receive(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, HeaderMap) {
    let at = Instant::now();
    let reply = shared.take_reply();
    let delay = async {
        select! {
            () = sleep(reply.delay) => {}
            () = shared.stop.cancelled() => {}
        }
    };
    let alerts = serde_json::from_slice(&body).map(|webhook| read_alerts(&webhook)).unwrap_or_default();
    let delivery = Delivery { at, path: uri.path().to_owned(), headers, body, status: reply.status, alerts };
    if !reply.has_it {
        delay.await;
        shared.record(delivery);
    } else {
        shared.record(delivery);
        delay.await;
    }
    (reply.status, reply.headers.into_iter().collect())
}

fn read_alerts(webhook: &Value) -> Vec<Alert> {
    let alerts = webhook["alerts"].as_array().map(Vec::as_slice).unwrap_or_default();
    alerts
        .iter()
        .map(|alert| Alert {
            status: alert["status"].as_str().unwrap_or_default().to_owned(),
            fingerprint: alert["fingerprint"].as_str().unwrap_or_default().to_owned(),
            labels: read_texts(&alert["labels"]),
            annotations: read_texts(&alert["annotations"]),
        })
        .collect()
}

fn read_texts(object: &Value) -> BTreeMap<String, String> {
    let entries = object.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

impl Alert {
    pub fn name(&self) -> &str {
        self.label("alertname")
    }

    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// `firing   warning  replica-lag {server=127.0.0.1:15432} replay is 8 s behind`
    fn line(&self) -> String {
        let labels: Vec<String> = self
            .labels
            .iter()
            .filter(|(name, _)| !["alertname", "severity"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let text = ["summary", "title", "description"].iter().find_map(|name| self.annotations.get(*name));
        format!(
            "{:<8} {:<8} {} {{{}}} {}",
            self.status,
            self.label("severity"),
            self.name(),
            labels.join(", "),
            text.map_or("", String::as_str)
        )
    }
}
