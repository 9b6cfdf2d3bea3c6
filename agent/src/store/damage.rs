//! Damaged stores: the agent sets them aside and goes on with a new one.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Error};

use super::directory::{DAMAGED_KEPT_MAX, place_aside, with_suffix};

/// The suffixes of the files that SQLite puts beside its database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Checks the whole file, and fails if it is damaged.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(Error::SqliteFailure(code, Some(verdict)))
}

/// Moves the store aside, and returns its new path.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let number = (1..DAMAGED_KEPT_MAX).find(|number| !place_aside(path, *number).exists()).unwrap_or(DAMAGED_KEPT_MAX);
    let aside = place_aside(path, number);
    std::fs::rename(path, &aside)?;
    for suffix in BESIDE {
        match std::fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(aside)
}
