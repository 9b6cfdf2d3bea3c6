-- The position of this server in the WAL that it can send, and the connected standbys with the position of each, at most $1. Without a
-- connected standby there is one row without a standby.
-- A client that decodes a logical slot is no standby, though it is listed with them. The setting shows how many standbys commits wait for:
-- `FIRST 2 (a, b, c)` and `2 (a, b, c)` are two, `a, b` is one.
SELECT p.in_recovery,
       pg_wal_lsn_diff(p.lsn, '0/0')::int8 AS lsn_bytes,
       CASE WHEN p.in_recovery OR p.synchronous_names = '' OR current_setting('synchronous_commit') IN ('off', 'local') THEN 0
            ELSE coalesce(substring(p.synchronous_names FROM '(?i)^(?:first|any)?\s*([0-9]{1,4})\s*\('), '1')::float8 END AS synchronous_wanted,
       r.pid,
       coalesce(nullif(r.application_name, ''), 'unnamed') AS standby,
       coalesce(host(r.client_addr), 'local') AS client,
       r.state,
       r.sync_state,
       EXISTS (SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical') AS is_logical,
       pg_wal_lsn_diff(r.sent_lsn, '0/0')::int8 AS sent_lsn_bytes,
       pg_wal_lsn_diff(r.replay_lsn, '0/0')::int8 AS replay_lsn_bytes,
       pg_wal_lsn_diff(p.lsn, r.replay_lsn)::float8 AS lag_bytes,
       extract(epoch FROM r.write_lag)::float8 AS write_lag_seconds,
       extract(epoch FROM r.flush_lag)::float8 AS flush_lag_seconds,
       extract(epoch FROM r.replay_lag)::float8 AS replay_lag_seconds
FROM (SELECT r.in_recovery,
             btrim(current_setting('synchronous_standby_names')) AS synchronous_names,
             CASE WHEN r.in_recovery
                  THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                  ELSE pg_current_wal_lsn() END AS lsn
      FROM (SELECT pg_is_in_recovery() AS in_recovery) r) p
LEFT JOIN pg_stat_replication r ON true
ORDER BY 5, 6, 4
LIMIT $1
