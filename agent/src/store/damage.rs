//! A store that cannot be read any more is set aside, so that the agent watches on: what it knew is lost, what it does is not.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Error};

use super::file::with_suffix;

/// Damaged stores that are kept for a person to look at; the next one takes the place of the last.
const KEPT_MAX: u32 = 3;

/// What SQLite puts beside its database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Looks through the whole file.
pub fn check(connection: &Connection) -> rusqlite::Result<()> {
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(Error::SqliteFailure(code, Some(verdict)))
}

/// Moves the store out of the way, and says where it is now.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let number = (1..KEPT_MAX).find(|number| !aside(path, *number).exists()).unwrap_or(KEPT_MAX);
    let aside = aside(path, number);
    std::fs::rename(path, &aside)?;
    for suffix in BESIDE {
        match std::fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(aside)
}

/// Where damaged stores are put; whether any is there is for the caller to see.
pub fn places_aside(path: &Path) -> Vec<PathBuf> {
    (1..=KEPT_MAX).map(|number| aside(path, number)).collect()
}

fn aside(path: &Path, number: u32) -> PathBuf {
    with_suffix(path, &format!(".damaged-{number}"))
}
