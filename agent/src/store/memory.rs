//! Essential data in memory, from which the file can be written again.
//!
//! The memory is a database of the same schema, and every essential write is repeated in it. Rows that the file has and the agent does not
//! need again are removed here, so the memory stays as small as what is open now.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, params_from_iter};

use super::error::StoreError;
use super::file::open_to_read;
use super::{audit_chain, event_table, migrate};

/// Small tables, which the memory has completely.
const WHOLE: [&str; 5] = ["alerts", "numbers", "ledger", "silences", "acknowledgements"];

/// The SQL condition of notifications that the memory needs: those that wait or are being sent, the newest, which decides the next number,
/// and undelivered beginnings of open incidents.
const OPEN_OUTBOX: &str = "state IN ('waiting', 'sending') OR seq = (SELECT max(seq) FROM outbox)
                           OR (state = 'dead' AND tells = 'begin' AND fingerprint IN (SELECT fingerprint FROM alerts))";

pub(super) struct Memory {
    pub connection: Connection,
}

impl Memory {
    pub(super) fn new() -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let mut connection = Connection::open_in_memory().map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        migrate::run(&mut connection, path)?;
        Ok(Self { connection })
    }

    /// Loads a file that can be read but not written.
    pub(super) fn load_file(&mut self, path: &Path) -> Result<(), StoreError> {
        let file = open_to_read(path)?;
        self.load(&file).map_err(|source| StoreError::Open { path: path.to_owned(), source })
    }

    /// Loads an open store, whose schema may be older.
    pub(super) fn load(&mut self, file: &Connection) -> rusqlite::Result<()> {
        let to = self.connection.transaction()?;
        let everything = WHOLE.map(|table| (table, "true")).into_iter().chain([("outbox", OPEN_OUTBOX), ("audit_ends", "name = 'end'")]);
        for (table, wanted) in everything {
            to.execute(&format!("DELETE FROM {table}"), [])?;
            if file.table_exists(None, table)? {
                copy(file, &to, table, wanted)?;
            }
        }
        audit_chain::set_end(&to, "start", audit_chain::end(&to)?)?;
        to.commit()
    }

    /// Writes all data into a file, over its rows. `aside` is the path of the previous file.
    pub(super) fn write_to(&mut self, file: &mut Connection, aside: Option<&str>, now_ms: u64) -> rusqlite::Result<()> {
        let to = file.transaction()?;
        for table in WHOLE {
            to.execute(&format!("DELETE FROM {table}"), [])?;
            copy(&self.connection, &to, table, "true")?;
        }
        copy(&self.connection, &to, "outbox", "true")?;
        event_table::append(&to, &event_table::oldest_first(&self.connection)?)?;
        self.write_audit_to(&to, aside, now_ms)?;
        to.commit()?;
        self.remove_written()?;
        audit_chain::set_end(&self.connection, "end", audit_chain::end(file)?)?;
        audit_chain::set_end(&self.connection, "start", audit_chain::end(file)?)
    }

    /// Appends the audit entries of memory to the chain of the file.
    fn write_audit_to(&self, to: &Transaction<'_>, aside: Option<&str>, now_ms: u64) -> rusqlite::Result<()> {
        if audit_chain::end(to)?.is_nothing() {
            audit_chain::continue_from(to, audit_chain::start(&self.connection)?, aside, now_ms)?;
        }
        let youngest_first = audit_chain::list(&self.connection, None, u32::MAX)?;
        let entries: Vec<_> = youngest_first.into_iter().rev().map(|row| row.entry).collect();
        audit_chain::append(to, &entries)
    }

    /// Removes what the file has and the agent does not need again.
    pub(super) fn remove_written(&self) -> rusqlite::Result<()> {
        let memory = &self.connection;
        memory.prepare_cached("DELETE FROM outbox WHERE state = 'delivered' AND seq < (SELECT max(seq) FROM outbox)")?.execute([])?;
        memory.prepare_cached(&format!("DELETE FROM outbox WHERE state = 'dead' AND NOT ({OPEN_OUTBOX})"))?.execute([])?;
        memory.prepare_cached("DELETE FROM events")?.execute([])?;
        memory.prepare_cached("DELETE FROM audit")?.execute([])?;
        audit_chain::set_end(memory, "start", audit_chain::end(memory)?)
    }
}

/// Copies rows of a table by the names of their columns, and replaces rows with the same key.
fn copy(from: &Connection, to: &Connection, table: &str, wanted: &str) -> rusqlite::Result<()> {
    let mut query = from.prepare(&format!("SELECT * FROM {table} WHERE {wanted}"))?;
    let columns = query.column_names().collect::<Vec<_>>().join(", ");
    let count = query.column_count();
    let places = vec!["?"; count].join(", ");
    let mut insert = to.prepare(&format!("INSERT OR REPLACE INTO {table} ({columns}) VALUES ({places})"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let values: Vec<Value> = (0..count).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?;
        insert.execute(params_from_iter(values))?;
    }
    Ok(())
}
