//! Files that a config names, read whole: few bytes, in bounded time, and never from something that can block for ever.
//!
//! A password file is read at each connection by a thread of the runtime. A pipe, a device or a network file system that hangs there would
//! take the agent with it, so only regular files are read, aside, and a read that hangs is given up and counted.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::sync::Semaphore;

/// A password or another secret.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// Certificates to trust. The bundle of an operating system takes a quarter of a megabyte.
pub const CERTIFICATES_BYTES_MAX: usize = 8 << 20;
/// How long one read may take. A local file takes microseconds.
const READ_MAX: Duration = Duration::from_secs(2);
/// How long a pipe may take. Its other end may be a program that asks a vault.
const PIPE_MAX: Duration = Duration::from_secs(30);
/// Reads at the same time. Those that hang keep their place, so that they cannot take every thread.
const READS_MAX: usize = 8;

/// Opening a pipe waits for its other end, and opening a terminal may make it ours.
const WITHOUT_WAITING: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

static READS: Semaphore = Semaphore::const_new(READS_MAX);

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
    #[error("{READS_MAX} earlier reads of files still hang")]
    Busy,
    #[error("it is not UTF-8")]
    NotUtf8,
}

/// Reads a regular file. Symbolic links are followed, since that is how secrets are mounted and rotated.
pub fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    // Looked at before it is opened, since opening a device may already do something; and after, since it may be another one by then.
    regular(&std::fs::metadata(path)?)?;
    let file = OpenOptions::new().read(true).custom_flags(WITHOUT_WAITING.bits().cast_signed()).open(path)?;
    regular(&file.metadata()?)?;
    bounded(file, bytes_max)
}

/// The same for the runtime's threads: read aside, and given up when it hangs.
pub async fn read_aside(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let place = tokio::time::timeout(READ_MAX, READS.acquire()).await;
    let Ok(Ok(place)) = place else { return Err(FileError::Busy) };
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let read = read(&path, bytes_max);
        drop(place);
        read
    });
    match tokio::time::timeout(READ_MAX, reading).await {
        Ok(Ok(read)) => read,
        Ok(Err(err)) => Err(io::Error::other(err).into()),
        Err(_) => Err(FileError::DeadlineExceeded(READ_MAX)),
    }
}

/// Reads what a person names on the command line, which may be a pipe: `--config <(...)`. Only for the start of a program: a read that hangs
/// keeps its thread until the program ends.
pub fn read_once(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let (done, reading) = mpsc::sync_channel(1);
    let named = path.to_owned();
    std::thread::spawn(move || {
        let read = File::open(&named).map_err(FileError::from).and_then(|file| bounded(file, bytes_max));
        // The one who waited may have given up.
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

/// Bounded while reading: a device does not tell how long it is, and a file may grow meanwhile.
fn bounded(file: File, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max { Err(FileError::TooLong(bytes_max)) } else { Ok(bytes) }
}
