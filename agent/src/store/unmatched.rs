//! How long rules have found no series, by plugin and rule.

use std::time::Duration;

use pharos_model::alert::UnmatchedRule;
use pharos_model::duration::milliseconds;
use rusqlite::params;

use super::columns::{number, signed};
use super::error::StoreError;
use super::handle::Store;

/// Prefix of these entries in the table `numbers`. Plugin and rule follow, and neither has a slash in its name.
const PREFIX: &str = "unmatched/";

impl Store {
    /// Restores the times that the previous agent stored.
    pub async fn unmatched(&self) -> Result<Vec<UnmatchedRule>, StoreError> {
        self.read_essential(|connection| {
            let mut query = connection.prepare("SELECT name, value FROM numbers WHERE name GLOB ?1 || '*'")?;
            let rows = query.query_map(params![PREFIX], |row| Ok((row.get::<_, String>("name")?, number(row, "value")?)))?;
            let rows = rows.collect::<Result<Vec<_>, _>>()?;
            Ok(rows.iter().filter_map(|(name, searched_ms)| unmatched_rule(name, *searched_ms)).collect())
        })
        .await
    }

    /// Replaces everything that was stored before.
    pub async fn save_unmatched(&self, unmatched: Vec<UnmatchedRule>) -> Result<(), StoreError> {
        self.write_essential(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM numbers WHERE name GLOB ?1 || '*'", params![PREFIX])?;
            for UnmatchedRule { plugin, rule, searched } in &unmatched {
                let name = format!("{PREFIX}{plugin}/{rule}");
                transaction.execute(
                    "INSERT OR REPLACE INTO numbers (name, value) VALUES (?1, ?2)",
                    params![name, signed(milliseconds(*searched))],
                )?;
            }
            transaction.commit()
        })
        .await
    }
}

fn unmatched_rule(name: &str, searched_ms: u64) -> Option<UnmatchedRule> {
    let (plugin, rule) = name.strip_prefix(PREFIX)?.split_once('/')?;
    Some(UnmatchedRule { plugin: plugin.to_owned(), rule: rule.to_owned(), searched: Duration::from_millis(searched_ms) })
}
