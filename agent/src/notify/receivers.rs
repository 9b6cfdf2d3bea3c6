//! The handle on all receivers' tasks: notifications go in here.

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

/// Rows that wait for one receiver; one that is this far behind hears of nothing new before it took some.
const WAITING_MAX: usize = 20_000;

/// How long a receiver's task may take to answer a question.
const ERRAND_MAX: Duration = Duration::from_secs(2);

/// Brings rows to their receivers.
pub struct Receivers {
    posts: BTreeMap<String, Post>,
    next_seq: AtomicU64,
    store: Store,
}

/// A row with its number.
pub type Numbered = (u64, NewRow);

/// The way to a receiver's task. What is in it is stored already.
struct Post {
    inbox: Arc<Mutex<Vec<Errand>>>,
    /// One token is enough: whatever came, the whole inbox is taken.
    wake: mpsc::Sender<()>,
    standing: Arc<Standing>,
}

impl Receivers {
    /// Starts a task per receiver on `lifecycle`, each with what an agent before this one left to deliver.
    pub async fn start(receivers: Vec<ReceiverConfig>, means: &Means, lifecycle: &Lifecycle) -> Result<Self, StoreError> {
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

    /// Whether a receiver takes more; one that is far behind hears of nothing new before it took some.
    pub fn has_room(&self, receiver: &str) -> bool {
        self.posts.get(receiver).is_none_or(|post| post.standing.waiting() < WAITING_MAX)
    }

    /// Gives rows their numbers, by which they are stored and sent in their order.
    pub fn number(&self, rows: Vec<NewRow>) -> Vec<Numbered> {
        rows.into_iter().map(|row| (self.next_seq.fetch_add(1, Ordering::Relaxed), row)).collect()
    }

    /// Gives rows to their receivers' tasks, those of one receiver at once, since they may leave as one message; never waits.
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

    /// Has notifications that were given up tried again. The numbers of those that were.
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

    /// Gives up notifications that wait, and forgets those that were given up. How many there were.
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

/// Those that are wanted; the rest stays, each in its order.
fn take<T>(from: &mut Vec<T>, wanted: impl Fn(&T) -> bool) -> Vec<T> {
    from.extract_if(.., |item| wanted(item)).collect()
}
