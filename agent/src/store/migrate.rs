//! The store's schema, one step per version, each in a transaction of its own. Steps are never edited once released.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

const STEPS: [&str; 3] = [include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/4.sql")];

/// Brings the schema up to date. A store from the future is left alone.
pub fn run(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let open_failed = |source| StoreError::Open { path: path.to_owned(), source };
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(open_failed)?;
    let known = STEPS.len() as u32;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (version, step) in (1..).zip(STEPS).skip(found as usize) {
        let transaction = connection.transaction().map_err(open_failed)?;
        transaction.execute_batch(step).map_err(open_failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(open_failed)?;
        transaction.commit().map_err(open_failed)?;
    }
    Ok(())
}
