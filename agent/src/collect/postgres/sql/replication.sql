-- Standbys that are connected here, with what they have not replayed yet.
SELECT coalesce(nullif(r.application_name, ''), 'unnamed') AS standby,
       coalesce(host(r.client_addr), 'local') AS client,
       (r.state = 'streaming')::int4::float8 AS streaming,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END,
                       r.replay_lsn)::float8 AS lag_bytes,
       extract(epoch FROM greatest(r.write_lag, r.flush_lag, r.replay_lag))::float8 AS lag_seconds
FROM pg_stat_replication r
ORDER BY 1, 2
LIMIT 200
