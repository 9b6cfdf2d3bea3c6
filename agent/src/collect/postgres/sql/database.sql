-- Counters of every database. The row of shared objects has no database and is left out. A database that accepts no connections, such as
-- template0, is listed for its age: it can prevent the whole server from reusing transaction ids.
SELECT d.oid,
       d.datname::text AS datname,
       s.numbackends::float8 AS backends,
       s.xact_commit::float8 AS commits,
       s.xact_rollback::float8 AS rollbacks,
       s.blks_read::float8 AS blocks_read,
       s.blks_hit::float8 AS blocks_hit,
       s.tup_returned::float8 AS rows_returned,
       s.tup_fetched::float8 AS rows_fetched,
       s.tup_inserted::float8 AS rows_inserted,
       s.tup_updated::float8 AS rows_updated,
       s.tup_deleted::float8 AS rows_deleted,
       s.temp_files::float8 AS temp_files,
       s.temp_bytes::float8 AS temp_bytes,
       s.deadlocks::float8 AS deadlocks,
       s.conflicts::float8 AS conflicts,
       -- Null, not 0, while checksums are off.
       s.checksum_failures::float8 AS checksum_failures,
       s.blk_read_time / 1000 AS block_read_time,
       s.blk_write_time / 1000 AS block_write_time,
       s.session_time / 1000 AS session_time,
       s.active_time / 1000 AS active_time,
       s.sessions::float8 AS sessions,
       s.sessions_abandoned::float8 AS sessions_abandoned,
       s.sessions_fatal::float8 AS sessions_fatal,
       s.sessions_killed::float8 AS sessions_killed,
       extract(epoch FROM s.stats_reset)::float8 AS stats_reset,
       -- A crash resets all statistics at once, also those of the background writer.
       (SELECT extract(epoch FROM w.stats_reset)::float8 FROM pg_stat_bgwriter w) AS all_since,
       age(d.datfrozenxid)::float8 AS xid_age,
       mxid_age(d.datminmxid)::float8 AS multixact_age,
       current_setting('track_counts')::bool AS tracks_counts,
       current_setting('data_checksums')::bool::int4::float8 AS checksums
FROM pg_database d
JOIN pg_stat_database s ON s.datid = d.oid
ORDER BY d.datname
LIMIT 5000
