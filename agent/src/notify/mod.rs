//! Delivery: who is told of a transition, and trying until they are.
//!
//! One task per receiver, so that one that hangs delays no other. What waits is kept in memory for now; the order within a receiver is
//! that of the transitions, so nobody hears "resolved" before "firing".

mod retry;
mod route;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pharos_model::alert::{AlertState, Reason, Transition};
use pharos_model::notification::{Delivery, Message, MessageAlert, MessageReason};
use pharos_model::subject::Label;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::retry::Backoff;
use self::route::Routes;
use crate::config::notify::{ReceiverConfig, RouteConfig};
use crate::lifecycle::Lifecycle;
use crate::telemetry::metrics::SelfMetrics;

/// Messages that wait for one receiver. A receiver that is this far behind is told of its oldest troubles first.
const QUEUED_MAX: usize = 1_000;

/// How long a message is tried before it is given up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(72 * 3_600);

/// How long the drain waits for receivers: less than the whole drain may take.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Brings one message to its receiver: the seam at which the agent connects the notifier plugins.
pub trait Deliver: Send + Sync + 'static {
    /// One attempt through a notifier, with the receiver's settings laid over the notifier's own.
    fn deliver<'a>(&'a self, notifier: &'a str, settings: &'a Value, message: &'a Message) -> BoxFuture<'a, Delivery>;
}

/// Sends transitions to receivers.
pub struct Notify {
    routes: Routes,
    receivers: BTreeMap<String, mpsc::Sender<Message>>,
    metrics: Arc<SelfMetrics>,
    agent: String,
    external_url: Option<String>,
}

impl Notify {
    /// Starts a task per receiver on `lifecycle`.
    pub fn start(
        agent: String,
        external_url: Option<String>,
        receivers: Vec<ReceiverConfig>,
        routes: Vec<RouteConfig>,
        notifiers: &Arc<dyn Deliver>,
        metrics: &Arc<SelfMetrics>,
        lifecycle: &Lifecycle,
    ) -> Self {
        if routes.is_empty() && !receivers.is_empty() {
            warn!("there are receivers but no [[route]] leads to them; nobody is told of anything");
        }
        let started = receivers.into_iter().map(|config| {
            let (messages, queue) = mpsc::channel(QUEUED_MAX);
            let worker = Worker {
                settings: serde_json::to_value(&config.settings).unwrap_or_default(),
                name: config.name.clone(),
                plugin: config.plugin,
                notifiers: Arc::clone(notifiers),
                metrics: Arc::clone(metrics),
                stop: lifecycle.soft().clone(),
            };
            lifecycle.tasks().spawn(worker.run(queue));
            (config.name, messages)
        });
        Self { receivers: started.collect(), routes: Routes::new(routes), metrics: Arc::clone(metrics), agent, external_url }
    }

    /// Queues the transitions that people should hear of. A full queue drops the message, and says so.
    pub fn enqueue(&self, transitions: Vec<Transition>) {
        for transition in transitions.iter().filter(|transition| transition.notifies()) {
            let Some(receiver) = self.routes.receiver(&transition.alert) else { continue };
            let Some(queue) = self.receivers.get(receiver) else { continue };
            let message = self.message(receiver, transition);
            let pending = queue.max_capacity() - queue.capacity();
            self.metrics.set("pharos_notifications_pending", &[receiver], (pending + 1) as f64);
            if queue.try_send(message).is_err() {
                self.metrics.add("pharos_notifications_dropped_total", &[receiver, "queue-full"], 1.0);
                error!(receiver, fingerprint = %transition.fingerprint, "a notification was dropped: {QUEUED_MAX} wait for `{receiver}`");
            }
        }
    }

    fn message(&self, receiver: &str, transition: &Transition) -> Message {
        let alert = &transition.alert;
        let group_labels = vec![Label::new("plugin", &alert.plugin), Label::new("rule", &alert.rule)];
        Message {
            id: transition.id(),
            receiver: receiver.to_owned(),
            group_key: format!("{}/{}/{}", alert.plugin, alert.rule, alert.subject.key()),
            group_labels: group_labels.clone(),
            alerts: vec![message_alert(transition, group_labels)],
            attempt: 0,
            agent: self.agent.clone(),
            external_url: self.external_url.clone(),
        }
    }
}

fn message_alert(transition: &Transition, mut labels: Vec<Label>) -> MessageAlert {
    let alert = &transition.alert;
    let resolved = transition.to == AlertState::Resolved;
    labels.extend(alert.labels.iter().cloned());
    MessageAlert {
        fingerprint: alert.fingerprint.to_string(),
        reason: match transition.reason {
            _ if resolved => MessageReason::Resolved,
            Reason::SeverityChanged { .. } => MessageReason::SeverityChanged,
            Reason::FlappingStarted => MessageReason::Flapping,
            _ => MessageReason::Firing,
        },
        severity: alert.severity,
        subject: alert.subject.clone(),
        labels,
        title: alert.title.clone(),
        detail: alert.detail.clone(),
        cause: alert.cause.clone(),
        fix: alert.fix.clone(),
        runbook: alert.runbook.clone(),
        value: alert.value,
        started_at_ms: alert.started_at_ms,
        ended_at_ms: resolved.then_some(transition.at.wall_ms),
    }
}

/// The task of one receiver.
struct Worker {
    name: String,
    plugin: String,
    settings: Value,
    notifiers: Arc<dyn Deliver>,
    metrics: Arc<SelfMetrics>,
    stop: CancellationToken,
}

impl Worker {
    /// Delivers in order until the queue is closed and empty. Once stopping, each message that is left gets one try, in a bounded time.
    async fn run(self, mut queue: mpsc::Receiver<Message>) {
        let flushed = async {
            self.stop.cancelled().await;
            tokio::time::sleep(FLUSH_MAX).await;
        };
        tokio::select! {
            () = self.deliver_all(&mut queue) => {}
            () = flushed => {
                let left = queue.len() + 1;
                self.metrics.add("pharos_notifications_dropped_total", &[&self.name, "stopping"], left as f64);
                error!(receiver = self.name, left, "giving up {left} notifications to `{}`: stopping", self.name);
            }
        }
    }

    async fn deliver_all(&self, queue: &mut mpsc::Receiver<Message>) {
        while let Some(message) = queue.recv().await {
            self.deliver(message).await;
            self.metrics.set("pharos_notifications_pending", &[&self.name], queue.len() as f64);
        }
    }

    async fn deliver(&self, mut message: Message) {
        let mut backoff = Backoff::default();
        loop {
            message.attempt += 1;
            let (receiver, id) = (self.name.as_str(), message.id.as_str());
            let (reason, why, after) = match self.notifiers.deliver(&self.plugin, &self.settings, &message).await {
                Delivery::Accepted => {
                    self.metrics.add("pharos_notifications_total", &[receiver], 1.0);
                    info!(receiver, id, attempt = message.attempt, "`{receiver}` accepted a notification");
                    return;
                }
                Delivery::Rejected { reason, why } => return self.give_up(&message, reason, &why),
                Delivery::Retry { after, why } => ("retry", why, after),
                Delivery::Ambiguous(why) => ("ambiguous", why, None),
            };
            self.metrics.add("pharos_notifications_failed_total", &[receiver, reason], 1.0);
            if backoff.waited() >= GIVE_UP_AFTER {
                return self.give_up(&message, "too-late", &why);
            }
            let pause = backoff.next(after, fastrand::f64());
            warn!(receiver, id, attempt = message.attempt, reason, "`{receiver}` was not reached, trying again in {pause:.1?}: {why}");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return self.give_up(&message, "stopping", &why),
            }
        }
    }

    fn give_up(&self, message: &Message, reason: &str, why: &str) {
        let receiver = self.name.as_str();
        self.metrics.add("pharos_notifications_dropped_total", &[receiver, reason], 1.0);
        error!(receiver, id = message.id, reason, "giving up a notification to `{receiver}`: {why}");
    }
}
