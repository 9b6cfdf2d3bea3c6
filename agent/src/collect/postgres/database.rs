//! Counters of each database inside the server (pg_stat_database) and its distance from wraparound (pg_database).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::FamiliesBuilder;

use super::row::{Fields, query};
use crate::collect::{CollectError, Facts};
use crate::postgres::Session;

pub const NAME: &str = "database";

/// Metric and the column that feeds it.
const COLUMNS: [(&str, &str); 26] = [
    ("pharos_postgres_backends", "backends"),
    ("pharos_postgres_commits_total", "commits"),
    ("pharos_postgres_rollbacks_total", "rollbacks"),
    ("pharos_postgres_blocks_read_total", "blocks_read"),
    ("pharos_postgres_blocks_hit_total", "blocks_hit"),
    ("pharos_postgres_rows_returned_total", "rows_returned"),
    ("pharos_postgres_rows_fetched_total", "rows_fetched"),
    ("pharos_postgres_rows_inserted_total", "rows_inserted"),
    ("pharos_postgres_rows_updated_total", "rows_updated"),
    ("pharos_postgres_rows_deleted_total", "rows_deleted"),
    ("pharos_postgres_temp_files_total", "temp_files"),
    ("pharos_postgres_temp_bytes_total", "temp_bytes"),
    ("pharos_postgres_deadlocks_total", "deadlocks"),
    ("pharos_postgres_conflicts_total", "conflicts"),
    ("pharos_postgres_checksum_failures_total", "checksum_failures"),
    ("pharos_postgres_block_read_time_seconds_total", "block_read_time"),
    ("pharos_postgres_block_write_time_seconds_total", "block_write_time"),
    ("pharos_postgres_session_time_seconds_total", "session_time"),
    ("pharos_postgres_active_time_seconds_total", "active_time"),
    ("pharos_postgres_sessions_total", "sessions"),
    ("pharos_postgres_sessions_abandoned_total", "sessions_abandoned"),
    ("pharos_postgres_sessions_fatal_total", "sessions_fatal"),
    ("pharos_postgres_sessions_killed_total", "sessions_killed"),
    ("pharos_postgres_stats_reset_timestamp_seconds", "stats_reset"),
    ("pharos_postgres_xid_age_transactions", "xid_age"),
    ("pharos_postgres_multixact_age_transactions", "multixact_age"),
];

pub fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    let rows = query(session, NAME, include_str!("sql/database.sql")).await?;
    let mut families = FamiliesBuilder::new(&["datname"], &COLUMNS.map(|(metric, _)| metric));
    for row in &rows {
        let row = Fields::new(NAME, row);
        let values = COLUMNS.iter().map(|(_, column)| row.number(column)).collect::<Result<Vec<_>, _>>()?;
        families.push(&[row.text("datname")?], &values);
    }
    Ok(Facts { epoch: session.epoch(), families: families.finish(), ..Facts::default() })
}
