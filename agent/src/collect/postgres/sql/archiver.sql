-- The latest checkpoint, the WAL written since, and the state of the archive. On a standby it is the checkpoint that a restart would use.
SELECT extract(epoch FROM clock_timestamp() - c.checkpoint_time)::float8 AS checkpoint_age,
       extract(epoch FROM current_setting('checkpoint_timeout')::interval)::float8 AS checkpoint_timeout,
       pg_wal_lsn_diff(CASE WHEN r.in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END,
                       c.redo_lsn)::float8 AS since_checkpoint,
       CASE current_setting('archive_mode') WHEN 'always' THEN true WHEN 'on' THEN NOT r.in_recovery ELSE false END AS archive_enabled,
       a.archived_count::float8 AS archived,
       a.failed_count::float8 AS failures,
       a.last_archived_wal AS last_archived,
       a.last_failed_wal AS last_failed,
       extract(epoch FROM a.last_archived_time)::float8 AS last_success,
       extract(epoch FROM a.last_failed_time)::float8 AS last_failure,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       extract(epoch FROM a.stats_reset)::float8 AS archiver_reset
FROM (SELECT pg_is_in_recovery() AS in_recovery) r
CROSS JOIN pg_control_checkpoint() c
CROSS JOIN pg_stat_archiver a
