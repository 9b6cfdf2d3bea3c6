-- The lag of this standby behind the WAL that it received, whether it replays, and whether it still receives. No row on a primary.
-- The receiver uses the clock of this server, so the age of its last message does not depend on a second clock.
SELECT pg_wal_lsn_diff(p.received, '0/0')::int8 AS received_lsn_bytes,
       pg_wal_lsn_diff(p.replayed, '0/0')::int8 AS replayed_lsn_bytes,
       pg_wal_lsn_diff(w.latest_end_lsn, p.received)::float8 AS shipping_lag_bytes,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS replay_age,
       (pg_get_wal_replay_pause_state() = 'paused')::int4::float8 AS replay_paused,
       coalesce(w.status = 'streaming', false)::int4::float8 AS receiver_up,
       extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS message_age,
       w.status AS receiver_status,
       w.sender_host,
       w.sender_port,
       w.slot_name AS receiver_slot,
       -- The first setting is how late this standby is meant to be. The second shows whether it is meant to receive; few roles may read it.
       extract(epoch FROM current_setting('recovery_min_apply_delay')::interval)::float8 AS apply_delay,
       CASE WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN current_setting('primary_conninfo') <> '' END AS is_to_receive
FROM (SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) AS received, pg_last_wal_replay_lsn() AS replayed) p
LEFT JOIN pg_stat_wal_receiver w ON true
WHERE pg_is_in_recovery()
