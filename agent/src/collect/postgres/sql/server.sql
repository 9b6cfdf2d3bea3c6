-- The server's role in replication, its timeline and position in the WAL, and when it and its processes started. The checkpointer lives as
-- long as all other processes: after a crash of one of them it starts again below the same postmaster. Statistics of the whole server begin
-- at a start that found none.
-- The timeline of a primary is that of the file that it writes: right after a promotion the control file still has the one before. The
-- timeline of a standby is the newest that it has received: its control file follows only at the next restartpoint.
SELECT r.in_recovery,
       CASE WHEN r.in_recovery
            THEN (SELECT greatest(s.timeline_id, p.min_recovery_end_timeline, w.received_tli)
                  FROM pg_control_checkpoint() s
                  CROSS JOIN pg_control_recovery() p
                  LEFT JOIN pg_stat_wal_receiver w ON true)::int8
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int8
       END AS timeline,
       pg_wal_lsn_diff(CASE WHEN r.in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, '0/0')::int8 AS lsn_bytes,
       CASE WHEN r.in_recovery
            THEN pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')::int8
       END AS received_lsn_bytes,
       extract(epoch FROM clock_timestamp())::float8 AS read_at,
       extract(epoch FROM pg_postmaster_start_time())::float8 AS started_at,
       (SELECT extract(epoch FROM min(a.backend_start)) FROM pg_stat_activity a WHERE a.backend_type = 'checkpointer')::float8
           AS checkpointer_started_at,
       (SELECT extract(epoch FROM least(b.stats_reset, w.stats_reset))
        FROM pg_stat_bgwriter b
        CROSS JOIN pg_stat_archiver w)::float8 AS statistics_began_at
FROM (SELECT pg_is_in_recovery() AS in_recovery) r
