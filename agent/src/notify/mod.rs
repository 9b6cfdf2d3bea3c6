//! Delivery: who is told of a transition, and trying until they are.
//!
//! What is told is decided first and stored with the transition itself, so that no end of the process loses it; one task per receiver then
//! brings it there, so that one that hangs delays no other. The order and the patience are the model's ([`pharos_model::outbox`]).

mod message;
mod route;
mod standing;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use pharos_model::alert::Transition;
use pharos_model::notification::{Delivery, Message};
use pharos_model::outbox::NewRow;
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use self::route::Routes;
use self::standing::Standing;
use self::worker::Worker;
use crate::board::Board;
use crate::clock::Clock;
use crate::config::notify::{ReceiverConfig, RouteConfig};
use crate::lifecycle::Lifecycle;
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::SelfMetrics;

/// Rows that wait for one receiver; one that is this far behind hears of nothing new before it took some.
const WAITING_MAX: usize = 20_000;

/// Brings one message to its receiver: the seam at which the agent connects the notifier plugins.
pub trait Deliver: Send + Sync + 'static {
    /// Whether this notifier is loaded.
    fn serves(&self, notifier: &str) -> bool;
    /// One attempt through a notifier, with the receiver's settings laid over the notifier's own.
    fn deliver<'a>(&'a self, notifier: &'a str, settings: &'a Value, message: &'a Message) -> BoxFuture<'a, Delivery>;
}

/// Whose messages they are.
#[derive(Debug)]
pub struct Signature {
    pub agent: String,
    pub external_url: Option<String>,
}

/// What receivers' tasks share.
#[derive(Clone)]
pub struct Means {
    pub notifiers: Arc<dyn Deliver>,
    pub signature: Arc<Signature>,
    pub store: Store,
    pub board: Arc<Board>,
    pub metrics: Arc<SelfMetrics>,
    pub clock: Clock,
}

/// Sends transitions to receivers.
pub struct Notify {
    routes: Routes,
    receivers: BTreeMap<String, Post>,
    next_seq: AtomicU64,
    metrics: Arc<SelfMetrics>,
}

/// A row with its number.
pub type Numbered = (u64, NewRow);

/// The way to a receiver's task. What is in it is stored already.
struct Post {
    inbox: Arc<Mutex<Vec<Numbered>>>,
    /// One token is enough: whatever came, the whole inbox is taken.
    wake: mpsc::Sender<()>,
    standing: Arc<Standing>,
}

impl Notify {
    /// Starts a task per receiver on `lifecycle`, each with what an agent before this one left to deliver.
    pub async fn start(
        receivers: Vec<ReceiverConfig>,
        routes: Vec<RouteConfig>,
        means: &Means,
        lifecycle: &Lifecycle,
    ) -> Result<Self, StoreError> {
        if routes.is_empty() && !receivers.is_empty() {
            warn!("there are receivers but no [[route]] leads to them; nobody is told of anything");
        }
        let mut open = means.store.open_outbox().await?;
        let mut posts = BTreeMap::new();
        for config in receivers {
            let left = take(&mut open.rows, |row| row.made.receiver == config.name);
            if !left.is_empty() {
                info!(receiver = config.name, left = left.len(), "{} notifications to `{}` were left to deliver", left.len(), config.name);
            }
            let untold = take(&mut open.untold, |(receiver, ..)| *receiver == config.name);
            let standing = Arc::new(Standing::new(&config.name, Arc::clone(&means.board), Arc::clone(&means.metrics)));
            let mut worker = Worker::new(&config, means.clone(), Arc::clone(&standing), lifecycle.soft().clone());
            worker.restore(left, &untold);
            let (wake, woken) = mpsc::channel(1);
            let inbox = worker.inbox();
            lifecycle.supervise(standing.part(), worker.run(woken));
            posts.insert(config.name, Post { inbox, wake, standing });
        }
        for row in &open.rows {
            let receiver = &row.made.receiver;
            warn!(receiver, id = row.made.id, "a notification waits for `{receiver}`, which is no longer configured");
        }
        let next_seq = AtomicU64::new(open.next_seq);
        Ok(Self { routes: Routes::new(routes), receivers: posts, next_seq, metrics: Arc::clone(&means.metrics) })
    }

    /// Who is to be told what of these transitions. The rows are to be stored with them, then [sent](Self::send).
    pub fn decide(&self, transitions: &[Transition]) -> Vec<Numbered> {
        let told = transitions.iter().filter(|transition| transition.notifies());
        told.filter_map(|transition| {
            let receiver = self.routes.receiver(&transition.alert)?;
            let post = self.receivers.get(receiver)?;
            if post.standing.waiting() >= WAITING_MAX {
                self.metrics.add("pharos_notifications_dropped_total", &[receiver, "queue-full"], 1.0);
                post.standing.gave_up(1);
                error!(receiver, fingerprint = %transition.fingerprint, "a notification was dropped: {WAITING_MAX} wait for `{receiver}`");
                return None;
            }
            Some((self.next_seq.fetch_add(1, Ordering::Relaxed), message::row(receiver, transition)))
        })
        .collect()
    }

    /// Gives rows to their receivers' tasks; never waits.
    pub fn send(&self, rows: Vec<Numbered>) {
        for (seq, row) in rows {
            let Some(post) = self.receivers.get(&row.receiver) else { continue };
            post.standing.queued(1);
            post.inbox.lock().unwrap_or_else(PoisonError::into_inner).push((seq, row));
            // Full is as good: the task has not looked yet.
            let _ = post.wake.try_send(());
        }
    }
}

/// Those that are wanted; the rest stays, each in its order.
fn take<T>(from: &mut Vec<T>, wanted: impl Fn(&T) -> bool) -> Vec<T> {
    from.extract_if(.., |item| wanted(item)).collect()
}
