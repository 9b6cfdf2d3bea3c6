-- Reads and writes by process type, object and purpose, WAL included. Rows without any operation are left out, except those of clients.
-- Before PostgreSQL 18 an operation was always one block.
SELECT i.backend_type,
       i.object,
       i.context,
       i.reads::float8 AS reads,
       i.read_bytes::float8 AS read_bytes,
       -- Null, not 0, while times are not measured.
       CASE WHEN t.timed THEN i.read_time / 1000 END AS read_time,
       i.writes::float8 AS writes,
       i.write_bytes::float8 AS write_bytes,
       CASE WHEN t.timed THEN i.write_time / 1000 END AS write_time,
       i.extends::float8 AS extends,
       i.hits::float8 AS hits,
       i.evictions::float8 AS evictions,
       i.fsyncs::float8 AS fsyncs,
       extract(epoch FROM i.stats_reset)::float8 AS stats_reset
FROM pg_stat_io i
CROSS JOIN LATERAL (
    SELECT current_setting(CASE i.object WHEN 'wal' THEN 'track_wal_io_timing' ELSE 'track_io_timing' END)::bool AS timed
) t
WHERE i.backend_type = 'client backend'
   OR greatest(i.reads, i.writes, i.extends, i.hits, i.evictions, i.fsyncs) > 0
ORDER BY 1, 2, 3
LIMIT 200
