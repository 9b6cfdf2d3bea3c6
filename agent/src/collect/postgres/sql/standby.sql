-- How far this standby is behind what it received, and whether it still receives. Null on a primary.
SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::float8 AS lag_bytes,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS replay_age,
       (SELECT count(*) FROM pg_stat_wal_receiver w WHERE w.status = 'streaming')::float8 AS receiver_up
WHERE pg_is_in_recovery()
