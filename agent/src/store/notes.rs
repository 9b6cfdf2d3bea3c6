//! Notes of collectors for the time after a restart: one for each server, collector and topic.

use pharos_model::event::Event;
use rusqlite::{OptionalExtension, params};

use super::columns::signed;
use super::error::StoreError;
use super::event_table;
use super::handle::Store;

/// Most stored notes. Each server and each datname needs one note; servers that are no longer configured count as well.
const NOTES_MAX: i64 = 5_000;

/// The key of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    pub server: String,
    pub collector: &'static str,
    pub topic: String,
}

impl Store {
    pub async fn note(&self, key: NoteKey) -> Result<Option<String>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached("SELECT note FROM notes WHERE server = ?1 AND collector = ?2 AND topic = ?3")?
                .query_row(params![key.server, key.collector, key.topic], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// Replaces a note, and stores its events in the same transaction. The notes with the oldest writes are removed beyond the bound.
    pub async fn put_note(&self, key: NoteKey, note: String, happened: Vec<Event>, now_ms: u64) -> Result<(), StoreError> {
        self.write_optional(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute(
                "INSERT OR REPLACE INTO notes (server, collector, topic, written_at_ms, note) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![key.server, key.collector, key.topic, signed(now_ms), note],
            )?;
            let count: i64 = transaction.query_row("SELECT count(*) FROM notes", [], |row| row.get(0))?;
            if count > NOTES_MAX {
                let oldest = "SELECT server, collector, topic FROM notes ORDER BY written_at_ms LIMIT ?1";
                let remove = format!("DELETE FROM notes WHERE (server, collector, topic) IN ({oldest})");
                transaction.execute(&remove, params![count - NOTES_MAX])?;
            }
            event_table::append(&transaction, &happened)?;
            transaction.commit()
        })
        .await
    }
}
