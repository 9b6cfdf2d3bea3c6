//! Small state of plugins, within a quota.

use rusqlite::{Connection, OptionalExtension, params};

use super::columns::signed;
use super::error::StoreError;
use super::handle::Store;

/// The quota of one plugin.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub keys: u64,
    pub bytes: u64,
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    Done,
    /// The present value was not the expected one, so nothing was written.
    Differs,
    /// The value exceeds the quota, which is the number of bytes given here.
    QuotaExceeded(u64),
}

impl Store {
    pub async fn plugin_state(&self, plugin: &str, key: String, now_ms: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let plugin = plugin.to_owned();
        self.read(move |connection| read(connection, &plugin, &key, now_ms)).await
    }

    /// Writes a value if the plugin's state stays within its limits, and if the key has the expected value.
    pub async fn put_plugin_state(&self, plugin: &str, entry: Entry, limits: Limits) -> Result<Written, StoreError> {
        let plugin = plugin.to_owned();
        self.write_optional(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM plugin_state WHERE expires_at_ms <= ?1", params![signed(entry.now_ms)])?;
            if !entry.expected.is_met(|| read(&transaction, &plugin, &entry.key, entry.now_ms))? {
                return Ok(Written::Differs);
            }
            let (keys, bytes): (i64, i64) = transaction.query_row(
                "SELECT count(*), coalesce(sum(length(key) + length(value)), 0) FROM plugin_state WHERE plugin = ?1 AND key <> ?2",
                params![plugin, entry.key],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if keys.unsigned_abs() >= limits.keys || bytes.unsigned_abs() + (entry.key.len() + entry.value.len()) as u64 > limits.bytes {
                return Ok(Written::QuotaExceeded(limits.bytes));
            }
            transaction.execute(
                "INSERT OR REPLACE INTO plugin_state (plugin, key, value, expires_at_ms) VALUES (?1, ?2, ?3, ?4)",
                params![plugin, entry.key, entry.value, entry.expires_at_ms.map(signed)],
            )?;
            transaction.commit()?;
            Ok(Written::Done)
        })
        .await
    }

    pub async fn delete_plugin_state(&self, plugin: &str, key: String) -> Result<(), StoreError> {
        let plugin = plugin.to_owned();
        self.write_optional(move |connection| {
            connection.execute("DELETE FROM plugin_state WHERE plugin = ?1 AND key = ?2", params![plugin, key]).map(drop)
        })
        .await
    }
}

/// A value to write.
#[derive(Debug)]
pub struct Entry {
    pub key: String,
    pub expected: Expected,
    pub value: Vec<u8>,
    /// Unix milliseconds at which the value is gone. `None` keeps it until it is deleted.
    pub expires_at_ms: Option<u64>,
    /// Unix milliseconds of the write. Values that expired until then count as absent.
    pub now_ms: u64,
}

/// What a key must hold for a write to happen.
#[derive(Debug)]
pub enum Expected {
    /// Any value, or none.
    Anything,
    /// No value.
    Nothing,
    /// Exactly this value.
    Value(Vec<u8>),
}

impl Expected {
    fn is_met(&self, present: impl FnOnce() -> rusqlite::Result<Option<Vec<u8>>>) -> rusqlite::Result<bool> {
        Ok(match self {
            Self::Anything => true,
            Self::Nothing => present()?.is_none(),
            Self::Value(expected) => present()?.as_ref() == Some(expected),
        })
    }
}

fn read(connection: &Connection, plugin: &str, key: &str, now_ms: u64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT value FROM plugin_state WHERE plugin = ?1 AND key = ?2 AND (expires_at_ms IS NULL OR expires_at_ms > ?3)")?
        .query_row(params![plugin, key, signed(now_ms)], |row| row.get(0))
        .optional()
}
