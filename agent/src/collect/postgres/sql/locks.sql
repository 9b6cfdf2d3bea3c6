-- Backends that wait for a lock, whom they wait for, and the backends they wait for. pg_blocking_pids holds the lock manager's
-- partitions for a moment, so it is asked about waiting backends only.
WITH waiters AS MATERIALIZED (
    SELECT a.pid, pg_blocking_pids(a.pid) AS blocked_by
    FROM pg_stat_activity a
    WHERE a.wait_event_type = 'Lock'
)
SELECT a.pid,
       a.leader_pid,
       coalesce(w.blocked_by, '{}') AS blocked_by,
       a.datname::text AS datname,
       a.usename::text AS "user",
       a.application_name AS application,
       a.state,
       l.mode,
       l.relation_name AS relation,
       CASE WHEN w.pid IS NOT NULL
            THEN extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, a.query_start))::float8 END AS wait_seconds,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds
FROM pg_stat_activity a
LEFT JOIN waiters w ON w.pid = a.pid
LEFT JOIN LATERAL (
    SELECT k.mode, k.waitstart, c.relname::text AS relation_name
    FROM pg_locks k
    LEFT JOIN pg_class c
           ON c.oid = k.relation
          AND k.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    WHERE k.pid = a.pid AND NOT k.granted
    LIMIT 1
) l ON true
WHERE w.pid IS NOT NULL
   OR a.pid IN (SELECT unnest(blocked_by) FROM waiters)
LIMIT 1000
