//! The embedded SQLite state: what must survive a restart.
//!
//! One thread owns the database; everyone else sends it work and waits. One agent per directory: a lock file says whose it is. How it
//! goes on when the disk does not is in `keeper`.

mod alerts;
mod audit;
mod ballast;
mod columns;
mod condition;
mod damage;
mod events;
mod file;
mod keeper;
mod ledger;
mod lock;
mod memory;
mod migrate;
mod notes;
mod outbox;
pub mod owner;
mod plugin_state;
mod reader;
mod unmatched;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

pub use alerts::AlertChanges;
pub use audit::{AuditRow, AuditVerdict, BrokenLink};
pub use condition::Condition;
pub use notes::NoteKey;
pub use outbox::{Claim, OpenOutbox, OutboxRow, OutboxTurn, Wanted};
pub use plugin_state::{Entry, Limits as PluginStateLimits, Written};
pub use reader::StoreReader;

use self::keeper::{Keeper, Work};
pub use self::owner::OwnerError;

const DATABASE_FILE: &str = "pharos.db";

/// Work that waits for the store. More would only mean that the disk cannot keep up.
const QUEUED_JOBS_MAX: usize = 256;

/// Visitors whose questions the store has at once. What the agent itself asks stands behind these few at most.
const VISITORS_MAX: usize = 2;

/// How long anyone waits for the store.
const ANSWER_MAX: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Keeper) + Send>;

/// A handle on the store; cheap to clone. The directory is free again when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    condition: Arc<Mutex<Condition>>,
    visitors: Arc<Semaphore>,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("preparing the data directory {}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Owner(#[from] OwnerError),
    #[error("another agent{} uses the data directory {}; give each agent its own agent.data_dir", holder(pid), path.display())]
    Locked { path: PathBuf, pid: Option<u32> },
    #[error("opening the state store {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the state store {} was written by a newer Pharos (schema {found}, this one knows {known}); start that version or move the file away", path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("there is no state store in {}; name the agent's agent.data_dir", path.display())]
    Missing { path: PathBuf },
    #[error("the state store did not answer within {ANSWER_MAX:?}")]
    DeadlineExceeded,
    #[error("the state store has ended")]
    Closed,
    #[error("not stored: {cause}")]
    Degraded { cause: String },
    #[error("using the state store")]
    Query { source: rusqlite::Error },
}

/// Where stores of this directory are put that were found damaged.
pub fn places_aside(directory: &Path) -> Vec<PathBuf> {
    damage::places_aside(&directory.join(DATABASE_FILE))
}

fn holder(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

impl Store {
    /// Locks the directory and opens or creates the store in it. One that is damaged is set aside, and a new one begins; one that cannot
    /// be used for another reason is tried again and again, and meanwhile what must not be lost is kept in memory.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        own_directory(directory)?;
        let condition = Arc::default();
        let keeper = Keeper::open(directory, Arc::clone(&condition))?;
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS_MAX);
        let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
        std::thread::Builder::new().name("store".to_owned()).spawn(move || serve(keeper, queue)).map_err(failed)?;
        Ok(Self { jobs, condition, visitors: Arc::new(Semaphore::new(VISITORS_MAX)) })
    }

    /// How the store is, as it was last seen.
    pub fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the store is that was found damaged last.
    pub fn damaged(&self) -> Option<PathBuf> {
        self.condition().damaged
    }

    /// Mends what can be mended and sees how the store is. To be called from time to time.
    pub async fn look_after(&self) -> Result<(), StoreError> {
        self.send(|keeper| {
            keeper.look_after();
            Ok(())
        })
        .await
    }

    /// Reads from the file.
    async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.read(&work as &Work<T>)).await
    }

    /// Reads for a visitor of the API: few at once, and nothing for one who has left.
    async fn read_for_visitor<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn_of_visitor().await?;
        self.exchange(Some(turn), move |keeper| keeper.read(&work as &Work<T>)).await
    }

    /// Reads for a visitor what must not be lost, wherever it is known best.
    async fn know_for_visitor<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn_of_visitor().await?;
        self.exchange(Some(turn), move |keeper| keeper.know(&work as &Work<T>)).await
    }

    async fn turn_of_visitor(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let turn = tokio::time::timeout(ANSWER_MAX, Arc::clone(&self.visitors).acquire_owned()).await;
        turn.map_err(|_| StoreError::DeadlineExceeded)?.map_err(|_| StoreError::Closed)
    }

    /// Reads what must not be lost, wherever it is known best.
    async fn know<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.know(&work as &Work<T>)).await
    }

    /// Writes what must not be lost; in memory, while the file does not take it.
    async fn keep<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.keep(&work as &Work<T>)).await
    }

    /// Writes what somebody waits for: once it answers, the file has it.
    async fn call<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.write(&work as &Work<T>)).await
    }

    /// Writes what the agent can do without; refused while the store is degraded.
    async fn spare<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.send(move |keeper| keeper.spare(&work as &Work<T>)).await
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
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |keeper| {
            // Of a visitor that has left, nothing is done; what the agent itself asks is done all the same.
            if turn.is_none() || !answer.is_closed() {
                let done = work(keeper);
                keeper.show();
                let _ = answer.send(done);
            }
        });
        let exchange = async {
            self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
            answered.await.map_err(|_| StoreError::Closed)?
        };
        tokio::time::timeout(ANSWER_MAX, exchange).await.unwrap_or_else(|_| {
            *self.condition.lock().unwrap_or_else(PoisonError::into_inner).failures.entry("deadline").or_default() += 1;
            Err(StoreError::DeadlineExceeded)
        })
    }
}

/// Why an agent would refuse the state in a directory that is there; nothing is changed.
pub fn look_at(directory: &Path) -> Result<(), OwnerError> {
    let user = owner::look_at_folder(directory, DATABASE_FILE)?;
    files_of(directory).iter().try_for_each(|file| owner::look_at_file(file, user))
}

/// Makes the directory if it is not there, and sees that it and what is read from it are ours.
fn own_directory(directory: &Path) -> Result<(), StoreError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    created.map_err(|source| StoreError::Directory { path: directory.to_owned(), source })?;
    owner::check_folder(directory, DATABASE_FILE)?;
    files_of(directory).iter().try_for_each(|file| owner::check_file(file))?;
    Ok(())
}

fn files_of(directory: &Path) -> [PathBuf; 4] {
    let database = directory.join(DATABASE_FILE);
    let [log, index] = ["-wal", "-shm"].map(|suffix| file::with_suffix(&database, suffix));
    [database, log, index, directory.join(lock::LOCK_FILE)]
}

/// Works until the last handle is gone.
fn serve(mut keeper: Keeper, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut keeper);
    }
}
