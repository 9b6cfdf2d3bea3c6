//! The handle on the store, and the thread behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::condition::Condition;
use super::directory::claim;
use super::error::{ANSWER_MAX, StoreError};
use super::keeper::{Keeper, Work};
use crate::request;

/// Most jobs that wait for the thread. A longer queue would only mean that the disk is too slow.
const QUEUED_JOBS_MAX: usize = 256;

/// Most requests of API callers in the queue. The work of the agent waits for these few at most.
const CALLERS_MAX: usize = 2;

type Job = Box<dyn FnOnce(&mut Keeper) + Send>;

/// A handle on the store; cheap to clone. The directory is unlocked when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    condition: Arc<Mutex<Condition>>,
    callers: Arc<Semaphore>,
}

impl Store {
    /// Locks the directory and opens or creates its store. A damaged store is set aside and replaced. While the store cannot be used for
    /// another reason, memory retains essential writes and the store is retried.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        claim(directory)?;
        let condition = Arc::default();
        let keeper = Keeper::open(directory, Arc::clone(&condition))?;
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS_MAX);
        let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::thread::Builder::new().name("store".to_owned()).spawn(move || serve(keeper, queue)).map_err(failed)?;
        Ok(Self { jobs, condition, callers: Arc::new(Semaphore::new(CALLERS_MAX)) })
    }

    /// The condition of the store after its latest job.
    pub fn condition(&self) -> Condition {
        self.condition.lock().clone()
    }

    /// The path of the store that was found damaged last.
    pub fn damaged(&self) -> Option<PathBuf> {
        self.condition().damaged
    }

    /// Repairs the store where that is possible, and updates its condition. The agent calls this once a second.
    pub async fn maintain(&self) -> Result<(), StoreError> {
        self.send(|keeper| {
            keeper.maintain();
            Ok(())
        })
        .await
    }

    /// Reads from the file.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.read(&work as &Work<T>)).await
    }

    /// Reads for a caller of the API. Only a few such reads run at once, and none for a caller that has disconnected.
    pub(super) async fn read_for_caller<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.caller_turn().await?;
        self.exchange(Some(turn), move |keeper| keeper.read(&work as &Work<T>)).await
    }

    /// Reads essential data for a caller of the API.
    pub(super) async fn read_essential_for_caller<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.caller_turn().await?;
        self.exchange(Some(turn), move |keeper| keeper.read_essential(&work as &Work<T>)).await
    }

    async fn caller_turn(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let turn = tokio::time::timeout(ANSWER_MAX, Arc::clone(&self.callers).acquire_owned()).await;
        turn.map_err(|_| StoreError::DeadlineExceeded)?.map_err(|_| StoreError::Closed)
    }

    /// Reads essential data from the file, or from memory while the file lacks writes.
    pub(super) async fn read_essential<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.read_essential(&work as &Work<T>)).await
    }

    /// Writes essential data. While the file fails, memory retains the write.
    pub(super) async fn write_essential<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.write_essential(&work as &Work<T>)).await
    }

    /// Writes into the file, or fails. Once this returns, the file has the data.
    pub(super) async fn write_durable<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.write_durable(&work as &Work<T>)).await
    }

    /// Writes data that may be missing. Refused while the store is degraded.
    pub(super) async fn write_optional<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.write_optional(&work as &Work<T>)).await
    }

    /// Runs work on the thread of the store, and waits for its answer.
    async fn send<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Keeper) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.exchange(None, work).await
    }

    /// Runs work on the thread of the store. The work of a caller holds its `turn` until it is done.
    async fn exchange<T: Send + 'static>(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        work: impl FnOnce(&mut Keeper) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let exchange = request::ask(&self.jobs, |answer| -> Job {
            Box::new(move |keeper| {
                // Work for a caller that has disconnected is skipped; the agent's own work is always done.
                if turn.is_none() || !answer.is_closed() {
                    let done = work(keeper);
                    keeper.publish_condition();
                    let _ = answer.send(done);
                }
            })
        });
        match tokio::time::timeout(ANSWER_MAX, exchange).await {
            Ok(answered) => answered.unwrap_or(Err(StoreError::Closed)),
            Err(_) => {
                *self.condition.lock().failures.entry("deadline").or_default() += 1;
                Err(StoreError::DeadlineExceeded)
            }
        }
    }
}

/// Runs jobs until the last handle is dropped.
fn serve(mut keeper: Keeper, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut keeper);
    }
}
