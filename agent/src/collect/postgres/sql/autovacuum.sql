-- The current settings of autovacuum, and its workers. Without a worker there is one row with the settings alone.
WITH settings AS (
    SELECT current_setting('autovacuum')::bool AS enabled,
           current_setting('track_counts')::bool AS track_counts,
           -- More workers than slots cannot run (PostgreSQL 18).
           least(current_setting('autovacuum_max_workers')::int4, current_setting('autovacuum_worker_slots', true)::int4)::float8
               AS workers_max,
           extract(epoch FROM current_setting(CASE WHEN current_setting('autovacuum_vacuum_cost_delay') = '-1'
                                                   THEN 'vacuum_cost_delay' ELSE 'autovacuum_vacuum_cost_delay' END)::interval)::float8
               AS cost_delay,
           current_setting(CASE WHEN current_setting('autovacuum_vacuum_cost_limit') = '-1'
                                THEN 'vacuum_cost_limit' ELSE 'autovacuum_vacuum_cost_limit' END)::float8 AS cost_limit,
           current_setting('autovacuum_freeze_max_age')::float8 AS freeze_max_age,
           current_setting('autovacuum_multixact_freeze_max_age')::float8 AS multixact_freeze_max_age,
           -- The failsafe never begins earlier than at 1.05 times the age at which autovacuum must freeze.
           greatest(current_setting('vacuum_failsafe_age')::float8,
                    current_setting('autovacuum_freeze_max_age')::float8 * 1.05) AS failsafe_age,
           greatest(current_setting('vacuum_multixact_failsafe_age')::float8,
                    current_setting('autovacuum_multixact_freeze_max_age')::float8 * 1.05) AS multixact_failsafe_age
), workers AS (
    SELECT a.pid::int8 AS pid,
           (SELECT d.datname::text FROM pg_database d WHERE d.oid = a.datid) AS datname,
           -- The agent parses this text: a name in it may have another encoding, which text functions refuse.
           a.query,
           extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::float8 AS seconds
    FROM pg_stat_get_activity(NULL) a
    WHERE a.backend_type = 'autovacuum worker'
    LIMIT 1000
)
SELECT s.enabled, s.track_counts, s.workers_max, s.cost_delay, s.cost_limit, s.freeze_max_age, s.multixact_freeze_max_age,
       s.failsafe_age, s.multixact_failsafe_age, w.pid, w.datname, w.query, w.seconds
FROM settings s
LEFT JOIN workers w ON true
ORDER BY w.seconds DESC NULLS LAST
