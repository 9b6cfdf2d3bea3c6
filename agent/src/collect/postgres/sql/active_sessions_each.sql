-- The same result as active_sessions.sql, for servers where few sessions work. Only those sessions are read in full, since that is the
-- expensive part.
SELECT s.pid,
       (extract(epoch FROM s.backend_start) * 1000000)::int8 AS backend_start_us,
       s.leader_pid,
       s.backend_type,
       (SELECT d.datname::text FROM pg_database d WHERE d.oid = s.datid) AS datname,
       pg_get_userbyid(s.usesysid)::text AS "user",
       s.query_id,
       s.wait_event_type,
       s.wait_event,
       (extract(epoch FROM s.state_change) * 1000000)::int8 AS state_change_us,
       extract(epoch FROM clock_timestamp() - s.state_change)::float8 AS state_seconds,
       count(*) OVER () AS active
FROM pg_stat_get_backend_idset() AS b
CROSS JOIN LATERAL pg_stat_get_activity(pg_stat_get_backend_pid(b)) s
-- Most sessions wait for their client, and most background processes in the main loop that the wait is named after.
WHERE coalesce(pg_stat_get_backend_wait_event(b), '') NOT LIKE ALL (ARRAY['ClientRead', '%Main'])
  AND s.wait_event IS DISTINCT FROM 'ClientRead'
  AND coalesce(s.state, '') NOT LIKE 'idle%'
  AND (s.backend_type IN ('client backend', 'parallel worker')
       OR coalesce(s.wait_event_type, '') NOT IN ('Activity', 'Client', 'Extension'))
  AND NOT (s.application_name = current_setting('application_name') AND pg_get_userbyid(s.usesysid) = session_user)
ORDER BY s.state_change NULLS LAST
LIMIT 500
