//! The schema of the store: one step per version, each in its own transaction. Released steps are never edited.

use std::path::Path;

use rusqlite::Connection;

use super::error::StoreError;

const STEPS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
];

/// Upgrades the schema to this version. A store of a newer version is refused unchanged.
pub(super) fn run(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let open_failed = |source| StoreError::Open { path: path.to_owned(), source };
    let found = check(connection, path)?;
    for (version, step) in (1..).zip(STEPS).skip(found as usize) {
        let transaction = connection.transaction().map_err(open_failed)?;
        transaction.execute_batch(step).map_err(open_failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(open_failed)?;
        transaction.commit().map_err(open_failed)?;
    }
    Ok(())
}

/// Returns the version of the schema, or an error if it is newer than this program.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<u32, StoreError> {
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get(0));
    let found: u32 = found.map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    let known = STEPS.len() as u32;
    if found > known { Err(StoreError::Newer { path: path.to_owned(), found, known }) } else { Ok(found) }
}
