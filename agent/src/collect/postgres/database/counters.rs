//! The counters of a datname that have a metric each.

/// Metrics, each with the column that has its value.
pub(super) const COUNTERS: [(&str, &str); 22] = [
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
];

/// Index of the checksum failures among the counters.
pub(super) const FAILURES: usize = 13;
