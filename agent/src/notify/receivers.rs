//! The handle on all receiver tasks. New notifications come in here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::outbox::NewRow;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::deliver::Means;
use super::standing::Standing;
use super::worker::{Errand, Worker};
use crate::config::notify::ReceiverConfig;
use crate::lifecycle::Lifecycle;
use crate::store::{Store, StoreError, Wanted};

/// Rows that wait for one receiver. A receiver this far behind gets nothing new, since its queue would fill the memory.
const WAITING_MAX: usize = 20_000;

/// The longest wait for an answer of a receiver task.
const ERRAND_MAX: Duration = Duration::from_secs(2);

/// All receiver tasks, by the name of the receiver.
pub struct Receivers {
    posts: BTreeMap<String, Post>,
    next_seq: AtomicU64,
    store: Store,
}

/// A row with its number.
pub type Numbered = (u64, NewRow);

/// The inbox of a receiver task. Its rows are stored already.
struct Post {
    inbox: Arc<Mutex<Vec<Errand>>>,
    /// One token suffices, since the task takes the whole inbox.
    wake: mpsc::Sender<()>,
    standing: Arc<Standing>,
}

impl Receivers {
    /// Starts a task per receiver on `lifecycle`, each with the rows that the previous agent did not deliver.
    pub async fn start(receivers: Vec<ReceiverConfig>, means: &Means, lifecycle: &Lifecycle) -> Result<Self, StoreError> {
        let mut open = means.store.open_outbox().await?;
        let mut posts = BTreeMap::new();
        for config in receivers {
            let left = extract(&mut open.rows, |row| row.made.receiver == config.name);
            if !left.is_empty() {
                info!(receiver = config.name, left = left.len(), "{} notifications to `{}` were left to deliver", left.len(), config.name);
            }
            let untold = extract(&mut open.untold, |untold| untold.receiver == config.name);
            let standing = Arc::new(Standing::new(&config.name, Arc::clone(&means.board), Arc::clone(&means.metrics)));
            let mut worker = Worker::new(&config, means.clone(), Arc::clone(&standing), lifecycle.soft().clone());
            worker.restore(left, &untold);
            let (wake, woken) = mpsc::channel(1);
            let inbox = worker.inbox();
            lifecycle.supervise(standing.part().clone(), worker.run(woken));
            posts.insert(config.name, Post { inbox, wake, standing });
        }
        for row in &open.rows {
            let receiver = &row.made.receiver;
            warn!(receiver, id = row.made.id, "a notification waits for `{receiver}`, which is no longer configured");
        }
        let next_seq = AtomicU64::new(open.next_seq);
        Ok(Self { posts, next_seq, store: means.store.clone() })
    }

    /// True while a receiver takes new rows.
    pub fn has_room(&self, receiver: &str) -> bool {
        self.posts.get(receiver).is_none_or(|post| post.standing.waiting() < WAITING_MAX)
    }

    /// Assigns rising numbers to rows. Rows are stored and sent in this order.
    pub fn number(&self, rows: Vec<NewRow>) -> Vec<Numbered> {
        rows.into_iter().map(|row| (self.next_seq.fetch_add(1, Ordering::Relaxed), row)).collect()
    }

    /// Hands rows to their receiver tasks, and never waits. Rows of one receiver go together, since they may leave as one message.
    pub fn send(&self, rows: Vec<Numbered>) {
        let mut by_receiver: BTreeMap<String, Vec<Errand>> = BTreeMap::new();
        for (seq, row) in rows {
            by_receiver.entry(row.receiver.clone()).or_default().push(Errand::New(seq, Box::new(row)));
        }
        for (receiver, errands) in by_receiver {
            if let Some(post) = self.posts.get(&receiver) {
                post.standing.queued(errands.len());
                post.give(errands);
            }
        }
    }

    /// Retries notifications that were given up, and returns their numbers.
    pub async fn retry(&self, wanted: Wanted) -> Result<Vec<u64>, StoreError> {
        let receivers = self.posts.keys().cloned().collect();
        let rows = self.store.revive_outbox(wanted, receivers).await?;
        let seqs = rows.iter().map(|row| row.seq).collect();
        for row in rows {
            if let Some(post) = self.posts.get(&row.made.receiver) {
                post.standing.queued(1);
                post.give(vec![Errand::Again(Box::new(row))]);
            }
        }
        Ok(seqs)
    }

    /// Gives up waiting notifications, and deletes those that were given up. Returns their count.
    pub async fn drop_rows(&self, wanted: Wanted) -> Result<usize, StoreError> {
        let mut dropped = 0;
        for (receiver, post) in &self.posts {
            if wanted.receiver.as_ref().is_none_or(|wanted| wanted == receiver) {
                let (answer, answered) = oneshot::channel();
                post.give(vec![Errand::Drop(wanted.seqs.clone(), answer)]);
                // A task that ends answers no more; its rows stay.
                let answered = tokio::time::timeout(ERRAND_MAX, answered).await;
                dropped += answered.ok().and_then(Result::ok).unwrap_or(0);
            }
        }
        Ok(dropped + self.store.delete_dead(wanted).await?)
    }
}

impl Post {
    fn give(&self, errands: Vec<Errand>) {
        self.inbox.lock().extend(errands);
        // Full is as good: the task has not looked yet.
        let _ = self.wake.try_send(());
    }
}

/// Removes and returns the items that are wanted, in their order.
fn extract<T>(from: &mut Vec<T>, wanted: impl Fn(&T) -> bool) -> Vec<T> {
    from.extract_if(.., |item| wanted(item)).collect()
}
