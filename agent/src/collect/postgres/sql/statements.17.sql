-- Counters of all entries, without their texts. From extension version 1.11 on an entry says since when it counts.
SELECT coalesce(d.datname::text, 'dropped') AS datname,
       coalesce(r.rolname::text, 'dropped') AS "user",
       s.queryid,
       s.toplevel,
       s.calls,
       s.total_exec_time / 1000 AS seconds,
       s.mean_exec_time / 1000 AS mean_seconds,
       s.stddev_exec_time / 1000 AS stddev_seconds,
       s.rows,
       s.shared_blks_hit AS blocks_hit,
       s.shared_blks_read AS blocks_read,
       s.temp_blks_written AS temp_blocks_written,
       extract(epoch FROM s.stats_since)::float8 AS stats_since
FROM {schema}.pg_stat_statements(false) s
LEFT JOIN pg_database d ON d.oid = s.dbid
LEFT JOIN pg_roles r ON r.oid = s.userid
