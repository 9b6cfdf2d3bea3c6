//! The embedded SQLite state: what must survive a restart.
//!
//! One thread owns the database; everyone else sends it work and waits. One agent per directory: a lock file says whose it is.

mod alerts;
mod damage;
mod events;
mod migrate;
mod outbox;
mod plugin_state;
mod unmatched;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

pub use alerts::AlertChanges;
pub use events::Event;
pub use outbox::{Claim, OpenOutbox, OutboxRow, OutboxTurn};
pub use plugin_state::{Entry, Limits as PluginStateLimits, Written};

const DATABASE_FILE: &str = "pharos.db";
const LOCK_FILE: &str = "lock";

/// Work that waits for the store. More would only mean that the disk cannot keep up.
const QUEUED_JOBS_MAX: usize = 256;

/// How long anyone waits for the store.
const ANSWER_MAX: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle on the store; cheap to clone. The directory is free again when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    damaged: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("preparing the data directory {}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("another agent{} uses the data directory {}; give each agent its own agent.data_dir", holder(pid), path.display())]
    Locked { path: PathBuf, pid: Option<u32> },
    #[error("opening the state store {}", path.display())]
    Open { path: PathBuf, source: rusqlite::Error },
    #[error("the state store {} was written by a newer Pharos (schema {found}, this one knows {known}); start that version or move the file away", path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("the state store did not answer within {ANSWER_MAX:?}")]
    DeadlineExceeded,
    #[error("the state store has ended")]
    Closed,
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
    /// Locks the directory and opens or creates the store in it. One that is damaged is set aside, and a new one begins.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let lock = lock(directory)?;
        let path = directory.join(DATABASE_FILE);
        let (connection, damaged) = match connect(&path) {
            Err(StoreError::Open { source, .. }) if damage::is_damage(&source) => {
                let aside = damage::set_aside(&path).map_err(failed)?;
                error!(error = %source, "the state store is damaged; it was moved to {}, and a new one begins", aside.display());
                (connect(&path)?, Some(aside))
            }
            connected => (connected?, None),
        };
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS_MAX);
        std::thread::Builder::new().name("store".to_owned()).spawn(move || serve(connection, queue, lock)).map_err(failed)?;
        Ok(Self { jobs, damaged })
    }

    /// Where the store is that was found damaged at this start.
    pub fn damaged(&self) -> Option<&Path> {
        self.damaged.as_deref()
    }

    /// Runs work on the store's thread and waits for its answer.
    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody waits any more when the receiver is gone; the work is done all the same.
            let _ = answer.send(work(connection));
        });
        let exchange = async {
            self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
            answered.await.map_err(|_| StoreError::Closed)?.map_err(|source| StoreError::Query { source })
        };
        tokio::time::timeout(ANSWER_MAX, exchange).await.unwrap_or(Err(StoreError::DeadlineExceeded))
    }
}

/// Opens a store whose whole file was looked through, with the schema of this version.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    // Created beforehand with its mode, since SQLite would use the umask's.
    let created = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    created.map_err(|source| StoreError::Directory { path: path.to_owned(), source })?;
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(ANSWER_MAX)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
        damage::check(&connection)?;
        Ok(connection)
    };
    let mut connection = open().map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    migrate::run(&mut connection, path)?;
    Ok(connection)
}

/// Works until the last handle is gone. The lock goes after the connection: nobody opens a store that is still being closed.
fn serve(mut connection: Connection, mut queue: mpsc::Receiver<Job>, lock: File) {
    while let Some(job) = queue.blocking_recv() {
        job(&mut connection);
    }
    drop(connection);
    drop(lock);
}

/// How long a store that is being closed is waited for.
const LOCK_MAX: Duration = Duration::from_millis(500);

fn patiently(try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..LOCK_MAX.div_duration_f64(PAUSE) as u32 {
        match try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            decided => return decided,
        }
    }
    try_lock()
}

/// Takes the directory's lock, or says who has it. The lock ends with the process, however that ends.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
    let path = directory.join(LOCK_FILE);
    let options = OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(path);
    let mut file = options.map_err(failed)?;
    match patiently(|| file.try_lock()) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(StoreError::Locked { path: directory.to_owned(), pid: holder.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}
