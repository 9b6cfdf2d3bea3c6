//! The handle on all receiver tasks. New notifications come in here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::outbox::NewRow;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::deliver::DeliveryContext;
use super::standing::Standing;
use super::worker::{Worker, WorkerRequest};
use crate::config::notify::ReceiverConfig;
use crate::lifecycle::Lifecycle;
use crate::store::{RowFilter, Store, StoreError};

/// Rows that wait for one receiver. A receiver this far behind gets nothing new, since its queue would fill the memory.
const WAITING_MAX: usize = 20_000;

/// The longest wait for an answer of a receiver task.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// All receiver tasks, by the name of the receiver.
pub(crate) struct Receivers {
    inboxes: BTreeMap<String, Inbox>,
    next_seq: AtomicU64,
    store: Store,
}

/// A row with its number.
pub(crate) type Numbered = (u64, NewRow);

/// The inbox of a receiver task. The store has its rows already.
struct Inbox {
    requests: Arc<Mutex<Vec<WorkerRequest>>>,
    /// Wakes the task. One token is enough, since the task takes all requests at once.
    wake: mpsc::Sender<()>,
    standing: Arc<Standing>,
}

impl Receivers {
    /// Starts a task per receiver on `lifecycle`, each with the rows that the previous agent did not deliver.
    pub(crate) async fn start(
        receivers: Vec<ReceiverConfig>,
        context: &DeliveryContext,
        lifecycle: &Lifecycle,
    ) -> Result<Self, StoreError> {
        let mut open = context.store.open_outbox().await?;
        let mut inboxes = BTreeMap::new();
        for config in receivers {
            let left = extract(&mut open.rows, |row| row.made.receiver == config.name);
            if !left.is_empty() {
                info!(receiver = config.name, left = left.len(), "{} notifications to `{}` were left to deliver", left.len(), config.name);
            }
            let unreported = extract(&mut open.unreported, |incident| incident.receiver == config.name);
            let standing = Arc::new(Standing::new(&config.name, Arc::clone(&context.board), Arc::clone(&context.metrics)));
            let mut worker = Worker::new(&config, context.clone(), Arc::clone(&standing), lifecycle.soft().clone());
            worker.restore(left, &unreported);
            let (wake, woken) = mpsc::channel(1);
            let requests = worker.inbox();
            lifecycle.supervise(standing.part().clone(), worker.run(woken));
            inboxes.insert(config.name, Inbox { requests, wake, standing });
        }
        for row in &open.rows {
            let receiver = &row.made.receiver;
            warn!(receiver, id = row.made.id, "a notification waits for `{receiver}`, which is no longer configured");
        }
        let next_seq = AtomicU64::new(open.next_seq);
        Ok(Self { inboxes, next_seq, store: context.store.clone() })
    }

    /// True while a receiver takes new rows.
    pub(crate) fn has_room(&self, receiver: &str) -> bool {
        self.inboxes.get(receiver).is_none_or(|inbox| inbox.standing.waiting() < WAITING_MAX)
    }

    /// Assigns rising numbers to rows. Rows are stored and sent in this order.
    pub(crate) fn number(&self, rows: Vec<NewRow>) -> Vec<Numbered> {
        rows.into_iter().map(|row| (self.next_seq.fetch_add(1, Ordering::Relaxed), row)).collect()
    }

    /// Hands rows to their receiver tasks, and never waits. Rows of one receiver go together, since they may leave as one message.
    pub(crate) fn send(&self, rows: Vec<Numbered>) {
        let mut by_receiver: BTreeMap<String, Vec<WorkerRequest>> = BTreeMap::new();
        for (seq, row) in rows {
            by_receiver.entry(row.receiver.clone()).or_default().push(WorkerRequest::New(seq, Box::new(row)));
        }
        for (receiver, requests) in by_receiver {
            if let Some(inbox) = self.inboxes.get(&receiver) {
                inbox.standing.queued(requests.len());
                inbox.push(requests);
            }
        }
    }

    /// Retries notifications that were given up, and returns their numbers.
    pub(crate) async fn retry(&self, wanted: RowFilter) -> Result<Vec<u64>, StoreError> {
        let receivers = self.inboxes.keys().cloned().collect();
        let rows = self.store.revive_outbox(wanted, receivers).await?;
        let seqs = rows.iter().map(|row| row.seq).collect();
        for row in rows {
            if let Some(inbox) = self.inboxes.get(&row.made.receiver) {
                inbox.standing.queued(1);
                inbox.push(vec![WorkerRequest::Again(Box::new(row))]);
            }
        }
        Ok(seqs)
    }

    /// Gives up waiting notifications, and deletes those that were given up. Returns their count.
    pub(crate) async fn drop_rows(&self, wanted: RowFilter) -> Result<usize, StoreError> {
        let mut dropped = 0;
        for (receiver, inbox) in &self.inboxes {
            if wanted.receiver.as_ref().is_none_or(|wanted| wanted == receiver) {
                let (answer, answered) = oneshot::channel();
                inbox.push(vec![WorkerRequest::Drop(wanted.seqs.clone(), answer)]);
                // A task that ends does not answer; its rows stay in the store.
                let answered = tokio::time::timeout(ANSWER_MAX, answered).await;
                dropped += answered.ok().and_then(Result::ok).unwrap_or(0);
            }
        }
        Ok(dropped + self.store.delete_dead(wanted).await?)
    }
}

impl Inbox {
    fn push(&self, requests: Vec<WorkerRequest>) {
        self.requests.lock().extend(requests);
        // A full channel is no error: the task has a token and will take these requests too.
        let _ = self.wake.try_send(());
    }
}

/// Removes and returns the items that are wanted, in their order.
fn extract<T>(from: &mut Vec<T>, wanted: impl Fn(&T) -> bool) -> Vec<T> {
    from.extract_if(.., |item| wanted(item)).collect()
}
