-- Subscriptions of every datname and their leading apply workers, at most $1. A standby has a copy of the rows and runs no workers.
SELECT d.datname::text AS datname,
       s.subname::text AS subscription,
       s.subenabled AS enabled,
       s.subslotname::text AS slot,
       w.pid IS NOT NULL AS worker_runs,
       extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS message_age,
       pg_wal_lsn_diff(w.received_lsn, '0/0')::int8 AS received_lsn_bytes,
       e.apply_error_count::float8 AS apply_errors,
       e.sync_error_count::float8 AS sync_errors,
       extract(epoch FROM e.stats_reset)::float8 AS stats_reset
FROM pg_subscription s
JOIN pg_database d ON d.oid = s.subdbid
LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.relid IS NULL AND w.leader_pid IS NULL AND w.pid IS NOT NULL
LEFT JOIN pg_stat_subscription_stats e ON e.subid = s.oid
WHERE NOT pg_is_in_recovery()
ORDER BY 1, 2
LIMIT $1
