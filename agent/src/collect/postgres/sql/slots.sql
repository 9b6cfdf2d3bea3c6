-- Replication slots and the WAL they keep on disk.
SELECT s.slot_name::text AS slot,
       s.slot_type,
       s.active::int4::float8 AS active,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
                       s.restart_lsn)::float8 AS retained_bytes,
       s.safe_wal_size::float8 AS safe_bytes,
       CASE s.wal_status WHEN 'lost' THEN 1.0 WHEN 'unreserved' THEN 0.5 ELSE 0.0 END::float8 AS wal_lost
FROM pg_replication_slots s
ORDER BY 1
LIMIT 200
