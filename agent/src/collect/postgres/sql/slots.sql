-- Replication slots, the WAL that they retain on disk, and what logical decoding of them wrote, at most $1.
-- The server reports other reasons of invalidation only from version 16 on, and how long a slot has been inactive only from version 17 on.
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
       NULL::float8 AS inactive_seconds,
       CASE s.wal_status WHEN 'lost' THEN 'wal_removed' END AS invalidation_reason,
       NULL::bool AS failover,
       NULL::bool AS synced,
       d.spill_bytes::float8 AS spill_bytes,
       d.stream_bytes::float8 AS stream_bytes,
       extract(epoch FROM d.stats_reset)::float8 AS stats_reset
FROM (SELECT CASE WHEN pg_is_in_recovery()
                  THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                  ELSE pg_current_wal_lsn() END AS lsn) p
CROSS JOIN pg_replication_slots s
LEFT JOIN pg_stat_replication_slots d ON d.slot_name = s.slot_name::text
ORDER BY 1
LIMIT $1
