-- Checkpoints, buffers and WAL. PostgreSQL 17 added a view for the checkpointer, and moved the writes of backends to pg_stat_io.
SELECT c.num_timed::float8 AS checkpoints_timed,
       c.num_requested::float8 AS checkpoints_requested,
       c.restartpoints_timed::float8 AS restartpoints_timed,
       c.restartpoints_req::float8 AS restartpoints_requested,
       c.write_time / 1000 AS checkpoint_write_time,
       c.sync_time / 1000 AS checkpoint_sync_time,
       c.buffers_written::float8 AS written_by_checkpointer,
       b.buffers_clean::float8 AS written_by_bgwriter,
       i.written_by_backends,
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
       extract(epoch FROM c.stats_reset)::float8 AS checkpointer_reset,
       extract(epoch FROM w.stats_reset)::float8 AS wal_reset,
       i.io_reset
FROM pg_stat_bgwriter b
CROSS JOIN pg_stat_checkpointer c
CROSS JOIN pg_stat_wal w
CROSS JOIN (
    SELECT sum(o.writes + coalesce(o.extends, 0))::float8 AS written_by_backends,
           extract(epoch FROM max(o.stats_reset))::float8 AS io_reset
    FROM pg_stat_io o
    WHERE o.object = 'relation' AND o.backend_type NOT IN ('checkpointer', 'background writer')
) i
