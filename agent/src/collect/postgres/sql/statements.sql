-- Counters of entries without their texts: reading the texts costs sixteen times as much. Entries in a known state ($1) are left out. A
-- state is a hash of the counters that grow with every use. Names are null if the datname or the role was dropped.
SELECT s.dbid,
       s.userid,
       d.datname::text AS datname,
       r.rolname::text AS "user",
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
       s.plans::float8 AS plans,
       s.total_plan_time / 1000 AS plan_seconds,
       s.shared_blks_dirtied::float8 AS blocks_dirtied,
       s.shared_blks_written::float8 AS blocks_written,
       s.local_blks_hit::float8 AS local_blocks_hit,
       s.local_blks_read::float8 AS local_blocks_read,
       s.local_blks_dirtied::float8 AS local_blocks_dirtied,
       s.local_blks_written::float8 AS local_blocks_written,
       s.temp_blks_read::float8 AS temp_blocks_read,
       s.blk_read_time / 1000 AS block_read_seconds,
       s.blk_write_time / 1000 AS block_write_seconds,
       NULL::float8 AS temp_block_read_seconds,
       NULL::float8 AS temp_block_write_seconds,
       s.wal_records::float8 AS wal_records,
       s.wal_fpi::float8 AS wal_full_page_images,
       s.wal_bytes::float8 AS wal_bytes,
       NULL::float8 AS jit_seconds,
       NULL::float8 AS stats_since,
       h.state
FROM {entries} s
CROSS JOIN LATERAL (
    SELECT hashint8extended((s.calls + s.plans) # (s.toplevel::int4::int8 << 62),
                            s.queryid # (s.dbid::int8 << 32 | s.userid::int8)) AS state
) h
LEFT JOIN pg_database d ON d.oid = s.dbid
LEFT JOIN pg_roles r ON r.oid = s.userid
WHERE (h.state = ANY ($1)) IS NOT TRUE
