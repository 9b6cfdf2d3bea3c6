//! The data directory: the files of the store, and the user that must own them.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::lock::LOCK_FILE;
use super::ownership::{self, OwnerError};

pub(super) const DATABASE_FILE: &str = "pharos.db";

/// Most damaged stores that stay for a person to examine. The next damaged store replaces the last of them.
pub(super) const DAMAGED_KEPT_MAX: u32 = 3;

/// The paths of damaged stores in this directory, whether they exist or not.
pub(crate) fn places_aside(directory: &Path) -> Vec<PathBuf> {
    let database = directory.join(DATABASE_FILE);
    (1..=DAMAGED_KEPT_MAX).map(|number| place_aside(&database, number)).collect()
}

/// The path of one damaged store, counted from 1.
pub(super) fn place_aside(database: &Path, number: u32) -> PathBuf {
    with_suffix(database, &format!(".damaged-{number}"))
}

/// The name of a file that SQLite puts beside its database.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Checks whether an agent would refuse the state in an existing directory. Changes nothing.
pub(crate) fn inspect(directory: &Path) -> Result<(), OwnerError> {
    let user = ownership::inspect_folder(directory, DATABASE_FILE)?;
    files_of(directory).iter().try_for_each(|file| ownership::inspect_file(file, user))
}

/// Makes the directory if it does not exist. Fails if the directory or a file in it can be changed by other users.
pub(super) fn claim(directory: &Path) -> Result<(), StoreError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    created.map_err(|source| StoreError::Directory { path: directory.to_owned(), source })?;
    ownership::check_folder(directory, DATABASE_FILE)?;
    files_of(directory).iter().try_for_each(|file| ownership::check_file(file))?;
    Ok(())
}

fn files_of(directory: &Path) -> [PathBuf; 4] {
    let database = directory.join(DATABASE_FILE);
    let [log, index] = ["-wal", "-shm"].map(|suffix| with_suffix(&database, suffix));
    [database, log, index, directory.join(LOCK_FILE)]
}
