//! The file of the database: opens it, checks that it still has its name, and saves the contents of an open file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::directory::with_suffix;
use super::error::StoreError;
use super::{damage, migrate};

/// The longest wait for another process that writes into the file.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// Device and inode of a file.
type Identity = (u64, u64);

/// An open database with the identity of its files.
pub(super) struct StoreFile {
    pub connection: Connection,
    path: PathBuf,
    identity: [Option<Identity>; 2],
}

impl StoreFile {
    /// Opens a store, checks its whole file and upgrades its schema.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        // Created beforehand with its mode, since SQLite would use the umask's.
        let created = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        created.map_err(|source| StoreError::Directory { path: path.to_owned(), source })?;
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_MAX)?;
            connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
            damage::check(&connection)?;
            Ok(connection)
        };
        let mut connection = open().map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        migrate::run(&mut connection, path)?;
        let identity = identity(path);
        Ok(Self { connection, path: path.to_owned(), identity })
    }

    /// True while the paths of database and log are those of the open files.
    pub(super) fn is_in_place(&self) -> bool {
        self.identity.iter().zip(identity(&self.path)).all(|(own, found)| own.is_none() || *own == found)
    }

    /// True while the path of the database is that of the open file.
    pub(super) fn has_its_name(&self) -> bool {
        self.identity[0] == identity(&self.path)[0]
    }

    /// Writes all contents into a new file at `path`.
    pub(super) fn save_to(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::Directory { path: path.to_owned(), source };
        remove_one(path).map_err(failed)?;
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(failed)?;
        let saved = self.connection.execute("VACUUM INTO ?1", [path.to_string_lossy()]);
        saved.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        File::open(path).and_then(|file| file.sync_all()).map_err(failed)
    }

    /// Moves the contents of the log into the database, and frees the space of the log.
    pub(super) fn shorten_log(&self) {
        // A failure only means that the log stays as long as it is.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

fn identity(path: &Path) -> [Option<Identity>; 2] {
    let of = |path: PathBuf| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    [of(path.to_owned()), of(with_suffix(path, "-wal"))]
}

/// The size of database, log and index together.
pub(super) fn size_bytes(path: &Path) -> u64 {
    let files = ["", "-wal", "-shm"].map(|suffix| std::fs::metadata(with_suffix(path, suffix)));
    files.iter().flatten().map(std::fs::Metadata::len).sum()
}

/// Opens a store read-only. An agent may use it at the same time, and its disk may be read-only.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let open = |name: &str| {
        let connection = Connection::open_with_flags(name, flags)?;
        connection.busy_timeout(BUSY_MAX)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok(connection)
    };
    let connection = open(&uri(path, "mode=ro")).or_else(|err| {
        // If the log's index cannot be made, a store without contents in its log is read as an unchanging file.
        let has_log = std::fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0);
        if has_log { Err(err) } else { open(&uri(path, "mode=ro&immutable=1")) }
    });
    let connection = connection.map_err(failed)?;
    migrate::check(&connection, path)?;
    Ok(connection)
}

fn uri(path: &Path, parameters: &str) -> String {
    let escape = |char: char| match char {
        '%' | '?' | '#' => format!("%{:02x}", u32::from(char)),
        char => char.to_string(),
    };
    let name: String = path.to_string_lossy().chars().map(escape).collect();
    format!("file:{name}?{parameters}")
}

/// Moves a saved database to the place of a closed one.
pub(super) fn place(saved: &Path, path: &Path) -> io::Result<()> {
    // A log of the old database would be applied to the new one.
    for suffix in ["-wal", "-shm"] {
        remove_one(&with_suffix(path, suffix))?;
    }
    std::fs::rename(saved, path)
}

fn remove_one(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}
