-- Reads and writes by process type, object and purpose. Rows without any operation are left out, except those of clients.
SELECT i.backend_type,
       i.object,
       i.context,
       i.reads::float8 AS reads,
       (i.reads * i.op_bytes)::float8 AS read_bytes,
       -- Null, not 0, while times are not measured.
       CASE WHEN current_setting('track_io_timing')::bool THEN i.read_time / 1000 END AS read_time,
       i.writes::float8 AS writes,
       (i.writes * i.op_bytes)::float8 AS write_bytes,
       CASE WHEN current_setting('track_io_timing')::bool THEN i.write_time / 1000 END AS write_time,
       i.extends::float8 AS extends,
       i.hits::float8 AS hits,
       i.evictions::float8 AS evictions,
       i.fsyncs::float8 AS fsyncs,
       extract(epoch FROM i.stats_reset)::float8 AS stats_reset
FROM pg_stat_io i
WHERE i.backend_type = 'client backend'
   OR greatest(i.reads, i.writes, i.extends, i.hits, i.evictions, i.fsyncs) > 0
ORDER BY 1, 2, 3
LIMIT 200
