-- Sessions that work, or wait for anything but their client, the longest first. `active` also counts sessions beyond the limit. This query
-- runs every second, so it has no joins and reads no texts.
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
FROM pg_stat_get_activity(NULL) s
WHERE s.wait_event IS DISTINCT FROM 'ClientRead'
  AND coalesce(s.state, '') NOT LIKE 'idle%'
  -- In these a background process waits for work.
  AND (s.backend_type IN ('client backend', 'parallel worker')
       OR coalesce(s.wait_event_type, '') NOT IN ('Activity', 'Client', 'Extension'))
  AND NOT (s.application_name = current_setting('application_name') AND pg_get_userbyid(s.usesysid) = session_user)
ORDER BY s.state_change NULLS LAST
LIMIT 500
