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
    let aside = |number: u32| with_suffix(path, &format!(".damaged-{number}"));
    let number = (1..KEPT_MAX).find(|number| !aside(*number).exists()).unwrap_or(KEPT_MAX);
    std::fs::rename(path, aside(number))?;
    for suffix in BESIDE {
        match std::fs::rename(with_suffix(path, suffix), with_suffix(&aside(number), suffix)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(aside(number))
}
