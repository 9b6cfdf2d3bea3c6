//! Reads of files that a config names: bounded in bytes and in time, and never from a file that can block for ever.
//!
//! A thread of the runtime reads the password file at each connection. A pipe, a device or a network file system that hangs would stop the
//! agent. So only regular files are read, on threads of their own, and a read that hangs is given up and counted. Each path has one read at
//! a time: a file that hangs takes one place, however many servers name it.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::fs::OFlags;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The largest file of a secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// The largest file of certificates, in bytes. The bundle of an operating system takes a quarter of a megabyte.
pub const CERTIFICATES_BYTES_MAX: usize = 8 << 20;
/// The longest read of a file. A local file takes microseconds.
const READ_MAX: Duration = Duration::from_secs(2);
/// The longest read of a pipe. Its other end may be a program that asks a vault.
const PIPE_MAX: Duration = Duration::from_secs(30);
/// Most reads at the same time. Reads that hang hold their place, so that they cannot take every thread. Each file has one place at most.
const READS_MAX: usize = 64;

/// Flags for opening: a pipe would wait for its other end, and a terminal could become the one of this process.
const WITHOUT_WAITING: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

static READS: Semaphore = Semaphore::const_new(READS_MAX);

/// The readers of each path, waiting ones included.
static QUEUES: Mutex<BTreeMap<PathBuf, Weak<Queue>>> = Mutex::new(BTreeMap::new());

/// The readers of one path.
struct Queue {
    turn: Arc<Semaphore>,
    /// The start of the present read. `None` if there is none.
    reading_since: Mutex<Option<Instant>>,
}

impl Queue {
    fn of(path: &Path) -> Arc<Self> {
        let mut queues = QUEUES.lock();
        if let Some(queue) = queues.get(path).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(Self { turn: Arc::new(Semaphore::new(1)), reading_since: Mutex::default() });
        queues.insert(path.to_owned(), Arc::downgrade(&queue));
        queue
    }

    fn hangs(&self) -> bool {
        self.reading_since().is_some_and(|since| since.elapsed() >= READ_MAX)
    }

    fn reading_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.reading_since.lock()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is {0}, not a regular file")]
    Kind(&'static str),
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    #[error("it could not be read within {0:?}")]
    DeadlineExceeded(Duration),
    #[error("an earlier read of it still hangs")]
    Hangs,
    #[error("reads of {READS_MAX} other files hang")]
    Busy,
    #[error("it is not UTF-8")]
    NotUtf8,
}

/// Reads a regular file. Symbolic links are followed, since that is how secrets are mounted and rotated.
pub fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    // Checked before the open, since opening a device may have effects, and again after it, since the file may have been replaced
    // meanwhile.
    regular(&std::fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(WITHOUT_WAITING.bits().cast_signed()).open(path)?;
    regular(&file.metadata()?)?;
    bounded(file, bytes_max)
}

/// Reads a regular file on a thread of its own. A read that hangs is given up.
pub async fn read_on_own_thread(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let named = path.to_owned();
    on_own_thread(path, move || read(&named, bytes_max)).await
}

/// Runs a read of this path on a thread of its own, once no other read of the path is in progress.
async fn on_own_thread(path: &Path, read: impl FnOnce() -> Result<Vec<u8>, FileError> + Send + 'static) -> Result<Vec<u8>, FileError> {
    let queue = Queue::of(path);
    if queue.hangs() {
        return Err(FileError::Hangs);
    }
    let turn = tokio::time::timeout(READ_MAX, Arc::clone(&queue.turn).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(FileError::Hangs) };
    let place = tokio::time::timeout(READ_MAX, READS.acquire()).await;
    let Ok(Ok(place)) = place else { return Err(FileError::Busy) };
    *queue.reading_since() = Some(Instant::now());
    let reading = tokio::task::spawn_blocking(move || {
        let read = read();
        *queue.reading_since() = None;
        drop((place, turn));
        read
    });
    match tokio::time::timeout(READ_MAX, reading).await {
        Ok(Ok(read)) => read,
        Ok(Err(err)) => Err(io::Error::other(err).into()),
        Err(_) => Err(FileError::DeadlineExceeded(READ_MAX)),
    }
}

/// Reads a file of the command line, which may be a pipe: `--config <(...)`. Only the start of a program may use this, since a read that
/// hangs keeps its thread until the program ends.
pub fn read_once(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let (done, reading) = mpsc::sync_channel(1);
    let named = path.to_owned();
    std::thread::spawn(move || {
        let read = File::open(&named).map_err(FileError::from).and_then(|file| bounded(file, bytes_max));
        // The receiver is gone if the wait has timed out.
        let _ = done.send(read);
    });
    reading.recv_timeout(PIPE_MAX).unwrap_or(Err(FileError::DeadlineExceeded(PIPE_MAX)))
}

fn regular(metadata: &Metadata) -> Result<(), FileError> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(FileError::Kind(what))
}

/// Reads at most `bytes_max` bytes. The length cannot be trusted: a device has none, and a file may grow meanwhile.
fn bounded(file: File, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max { Err(FileError::TooLong(bytes_max)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_that_hangs_takes_one_place_and_costs_itself_alone() {
        let hanging = Path::new("/mounted/elsewhere/password");
        let (release, held) = mpsc::channel::<()>();
        let first = on_own_thread(hanging, move || {
            let _ = held.recv();
            Ok(Vec::new())
        });
        let folder = tempfile::tempdir().expect("a folder");
        let healthy = folder.path().join("password");
        std::fs::write(&healthy, "abc").expect("it is written");
        let others =
            futures_util::future::join_all((0..READS_MAX + 1).map(|_| on_own_thread(hanging, || panic!("a second read of it began"))));
        let (first, others) = tokio::join!(first, others);
        assert!(matches!(first, Err(FileError::DeadlineExceeded(_))), "{first:?}");
        assert!(others.iter().all(|other| matches!(other, Err(FileError::Hangs))), "{others:?}");
        assert!(READS.available_permits() > READS_MAX / 2, "the file that hangs has one place");
        assert_eq!(read_on_own_thread(&healthy, 3).await.expect("other files are read"), b"abc");
        let again = tokio::time::timeout(READ_MAX, on_own_thread(hanging, || panic!("a second read of it began"))).await;
        assert!(matches!(again, Ok(Err(FileError::Hangs))), "it is refused at once, without a wait of its own: {again:?}");
        release.send(()).expect("the first read waits");
        loop {
            match on_own_thread(hanging, || Ok(b"back".to_vec())).await {
                Ok(bytes) => break assert_eq!(bytes, b"back"),
                Err(err) => assert!(matches!(err, FileError::Hangs), "{err}"),
            }
            tokio::task::yield_now().await;
        }
    }
}
