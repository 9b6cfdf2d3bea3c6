-- Checkpoints, buffers and WAL. Before PostgreSQL 17 the restartpoints of a standby count as checkpoints.
SELECT b.checkpoints_timed::float8 AS checkpoints_timed,
       b.checkpoints_req::float8 AS checkpoints_requested,
       NULL::float8 AS restartpoints_timed,
       NULL::float8 AS restartpoints_requested,
       b.checkpoint_write_time / 1000 AS checkpoint_write_time,
       b.checkpoint_sync_time / 1000 AS checkpoint_sync_time,
       b.buffers_checkpoint::float8 AS written_by_checkpointer,
       b.buffers_clean::float8 AS written_by_bgwriter,
       b.buffers_backend::float8 AS written_by_backends,
       b.buffers_alloc::float8 AS buffers_allocated,
       b.maxwritten_clean::float8 AS bgwriter_stops,
       w.wal_bytes::float8 AS wal_bytes,
       w.wal_records::float8 AS wal_records,
       w.wal_fpi::float8 AS wal_full_page_images,
       w.wal_buffers_full::float8 AS wal_buffers_full,
       -- Null, not 0, while times are not measured.
       CASE WHEN current_setting('track_wal_io_timing')::bool THEN w.wal_write_time / 1000 END AS wal_write_time,
       CASE WHEN current_setting('track_wal_io_timing')::bool THEN w.wal_sync_time / 1000 END AS wal_sync_time,
       extract(epoch FROM b.stats_reset)::float8 AS bgwriter_reset,
       NULL::float8 AS checkpointer_reset,
       extract(epoch FROM w.stats_reset)::float8 AS wal_reset,
       NULL::float8 AS io_reset
FROM pg_stat_bgwriter b
CROSS JOIN pg_stat_wal w
