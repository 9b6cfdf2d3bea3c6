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

/// Work that waits for the store. More would only mean that the disk cannot keep up.
const QUEUED_JOBS_MAX: usize = 256;

/// Questions of visitors that the store has at once. The agent's own work waits behind these few at most.
const VISITORS_MAX: usize = 2;

type Job = Box<dyn FnOnce(&mut Keeper) + Send>;

/// A handle on the store; cheap to clone. The directory is free again when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    condition: Arc<Mutex<Condition>>,
    visitors: Arc<Semaphore>,
}

impl Store {
    /// Locks the directory and opens or creates the store in it. One that is damaged is set aside, and a new one begins; one that cannot
    /// be used for another reason is tried again and again, and meanwhile what must not be lost is kept in memory.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        claim(directory)?;
        let condition = Arc::default();
        let keeper = Keeper::open(directory, Arc::clone(&condition))?;
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS_MAX);
        let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::thread::Builder::new().name("store".to_owned()).spawn(move || serve(keeper, queue)).map_err(failed)?;
        Ok(Self { jobs, condition, visitors: Arc::new(Semaphore::new(VISITORS_MAX)) })
    }

    /// How the store is, as it was last seen.
    pub fn condition(&self) -> Condition {
        self.condition.lock().clone()
    }

    /// Where the store is that was found damaged last.
    pub fn damaged(&self) -> Option<PathBuf> {
        self.condition().damaged
    }

    /// Mends what can be mended and sees how the store is. To be called from time to time.
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

    /// Reads for a visitor of the API: few at once, and nothing for one who has left.
    pub(super) async fn read_for_visitor<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.visitor_turn().await?;
        self.exchange(Some(turn), move |keeper| keeper.read(&work as &Work<T>)).await
    }

    /// Reads for a visitor what must not be lost, wherever it is known best.
    pub(super) async fn read_essential_for_visitor<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.visitor_turn().await?;
        self.exchange(Some(turn), move |keeper| keeper.read_essential(&work as &Work<T>)).await
    }

    async fn visitor_turn(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let turn = tokio::time::timeout(ANSWER_MAX, Arc::clone(&self.visitors).acquire_owned()).await;
        turn.map_err(|_| StoreError::DeadlineExceeded)?.map_err(|_| StoreError::Closed)
    }

    /// Reads what must not be lost, wherever it is known best.
    pub(super) async fn read_essential<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.read_essential(&work as &Work<T>)).await
    }

    /// Writes what must not be lost; in memory, while the file does not take it.
    pub(super) async fn write_essential<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.write_essential(&work as &Work<T>)).await
    }

    /// Writes what somebody waits for: once it answers, the file has it.
    pub(super) async fn write_durable<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.write_durable(&work as &Work<T>)).await
    }

    /// Writes what the agent can do without; refused while the store is degraded.
    pub(super) async fn write_optional<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.write_optional(&work as &Work<T>)).await
    }

    /// Has something done on the store's thread and waits for its answer.
    async fn send<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Keeper) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.exchange(None, work).await
    }

    /// The same; a visitor holds its `turn` until the work is done.
    async fn exchange<T: Send + 'static>(
        &self,
        turn: Option<OwnedSemaphorePermit>,
        work: impl FnOnce(&mut Keeper) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let exchange = request::ask(&self.jobs, |answer| -> Job {
            Box::new(move |keeper| {
                // Work of a visitor that has left is not done; the agent's own work is.
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

/// Works until the last handle is gone.
fn serve(mut keeper: Keeper, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut keeper);
    }
}
