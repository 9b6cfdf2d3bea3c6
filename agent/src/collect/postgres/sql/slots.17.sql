-- Replication slots, the WAL that they retain on disk, and what logical decoding of them wrote, at most $1.
-- After a promotion a slot is still marked as synced, which means nothing on a primary.
SELECT s.slot_name::text AS slot,
       s.slot_type,
       s.plugin::text AS plugin,
       s.database::text AS datname,
       s.active,
       s.temporary,
       s.wal_status,
       pg_wal_lsn_diff(p.lsn, s.restart_lsn)::int8 AS retained_bytes,
       pg_wal_lsn_diff(greatest(s.restart_lsn, s.confirmed_flush_lsn), '0/0')::int8 AS position_bytes,
       s.safe_wal_size AS safe_bytes,
       pg_wal_lsn_diff(p.lsn, s.confirmed_flush_lsn)::float8 AS confirmed_lag_bytes,
       extract(epoch FROM clock_timestamp() - s.inactive_since)::float8 AS inactive_seconds,
       s.invalidation_reason,
       s.failover,
       s.synced AND p.in_recovery AS synced,
       d.spill_bytes::float8 AS spill_bytes,
       d.stream_bytes::float8 AS stream_bytes,
       extract(epoch FROM d.stats_reset)::float8 AS stats_reset
FROM (SELECT pg_is_in_recovery() AS in_recovery,
             CASE WHEN pg_is_in_recovery()
                  THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                  ELSE pg_current_wal_lsn() END AS lsn) p
CROSS JOIN pg_replication_slots s
LEFT JOIN pg_stat_replication_slots d ON d.slot_name = s.slot_name::text
ORDER BY 1
LIMIT $1
