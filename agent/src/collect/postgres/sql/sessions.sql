-- The client backends with the oldest transactions. Texts are not read; the query id identifies the statement.
SELECT a.pid::int8 AS pid,
       a.datname::text AS datname,
       a.usename::text AS "user",
       a.application_name AS application,
       a.state,
       a.wait_event_type,
       a.wait_event,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS state_seconds,
       a.query_id,
       extract(epoch FROM a.backend_start)::float8 AS backend_start
FROM pg_stat_activity a
WHERE a.backend_type = 'client backend'
  AND NOT (a.application_name = current_setting('application_name') AND a.usename = session_user)
  AND a.xact_start IS NOT NULL
ORDER BY a.xact_start
LIMIT 50
