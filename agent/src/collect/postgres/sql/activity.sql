-- Client backends in groups of database, state and wait, with the oldest age of each kind. Sessions of the agent do not count.
SELECT coalesce(a.datname, '') AS datname,
       coalesce(a.state, 'unknown') AS state,
       CASE WHEN a.state = 'active' THEN coalesce(a.wait_event_type, 'CPU') END AS wait_event_type,
       count(*)::float8 AS connections,
       max(extract(epoch FROM clock_timestamp() - a.query_start)) FILTER (WHERE a.state = 'active')::float8 AS query_age,
       max(extract(epoch FROM clock_timestamp() - a.xact_start))::float8 AS transaction_age,
       max(extract(epoch FROM clock_timestamp() - a.state_change)) FILTER (WHERE a.state LIKE 'idle in transaction%')::float8
           AS idle_in_transaction_age,
       max(age(a.backend_xmin))::float8 AS xmin_age,
       current_setting('track_activities')::bool AS tracks_activities,
       (current_setting('max_connections')::int4
        - current_setting('superuser_reserved_connections')::int4
        - coalesce(current_setting('reserved_connections', true)::int4, 0))::float8 AS connections_max
FROM pg_stat_activity a
WHERE a.backend_type = 'client backend'
  AND NOT (a.application_name = current_setting('application_name') AND a.usename = session_user)
GROUP BY 1, 2, 3
UNION ALL
-- A row without backends, so that an idle server has its limit too.
SELECT NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, current_setting('track_activities')::bool,
       (current_setting('max_connections')::int4
        - current_setting('superuser_reserved_connections')::int4
        - coalesce(current_setting('reserved_connections', true)::int4, 0))::float8
