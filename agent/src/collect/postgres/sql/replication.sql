-- Where this server is in the WAL that it can send, and the standbys connected here with where each is; one row without a standby if none is.
SELECT p.in_recovery,
       pg_wal_lsn_diff(p.lsn, '0/0')::int8 AS lsn_bytes,
       r.pid,
       coalesce(nullif(r.application_name, ''), 'unnamed') AS standby,
       coalesce(host(r.client_addr), 'local') AS client,
       r.state,
       r.sync_state,
       pg_wal_lsn_diff(r.sent_lsn, '0/0')::int8 AS sent_lsn_bytes,
       pg_wal_lsn_diff(r.replay_lsn, '0/0')::int8 AS replay_lsn_bytes,
       pg_wal_lsn_diff(p.lsn, r.replay_lsn)::float8 AS lag_bytes,
       extract(epoch FROM r.write_lag)::float8 AS write_lag_seconds,
       extract(epoch FROM r.flush_lag)::float8 AS flush_lag_seconds,
       extract(epoch FROM r.replay_lag)::float8 AS replay_lag_seconds
FROM (SELECT r.in_recovery,
             CASE WHEN r.in_recovery
                  THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                  ELSE pg_current_wal_lsn() END AS lsn
      FROM (SELECT pg_is_in_recovery() AS in_recovery) r) p
LEFT JOIN pg_stat_replication r ON true
ORDER BY 4, 5, 3
LIMIT 200
