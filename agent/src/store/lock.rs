//! The lock of a data directory. It admits one agent at a time and names the process that holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::error::StoreError;

pub(super) const LOCK_FILE: &str = "lock";

/// The longest wait for a lock that another agent is about to release.
const LOCK_MAX: Duration = Duration::from_millis(500);

/// Takes the lock of a directory, or returns the process that holds it. The kernel releases the lock when the process ends.
pub(super) fn lock(directory: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
    let path = directory.join(LOCK_FILE);
    let options = OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(&path);
    // An existing file can be locked even if the file system is read-only.
    let read_only =
        |err: io::Error| if err.kind() == io::ErrorKind::ReadOnlyFilesystem { File::open(&path).map_err(|_| err) } else { Err(err) };
    let mut file = options.or_else(read_only).map_err(failed)?;
    match retried(|| file.try_lock()) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            return Err(StoreError::Locked { path: directory.to_owned(), pid: holder.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    // The lock holds even if there is no space to write the number of the process.
    let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// True while the path still leads to the locked file. A directory that was replaced has another file.
pub(super) fn is_in_place(lock: &File, directory: &Path) -> bool {
    let found = std::fs::metadata(directory.join(LOCK_FILE));
    lock.metadata().is_ok_and(|held| found.is_ok_and(|found| (found.dev(), found.ino()) == (held.dev(), held.ino())))
}

fn retried(try_lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 0..LOCK_MAX.div_duration_f64(PAUSE) as u32 {
        match try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            decided => return decided,
        }
    }
    try_lock()
}
