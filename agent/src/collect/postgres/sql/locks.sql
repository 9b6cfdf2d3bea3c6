-- Sessions that wait for a lock, and the sessions that they wait for. pg_blocking_pids holds the lock manager's partitions for a moment, so
-- it is called for waiting sessions only, and pg_locks is read once.
WITH waiters AS MATERIALIZED (
    SELECT a.pid, a.leader_pid, pg_blocking_pids(a.pid) AS blocked_by
    FROM pg_stat_activity a
    WHERE a.wait_event_type = 'Lock'
    ORDER BY a.query_start
    LIMIT 500
), locks AS MATERIALIZED (
    -- `thing` is equal for all locks on the same object.
    SELECT k.*, concat_ws('/', k.locktype, coalesce(k.database, 0), coalesce(k.relation, 0), k.page, k.tuple, k.virtualxid,
                          k.transactionid, k.classid, k.objid, k.objsubid) AS thing
    FROM pg_locks k
), wanted AS MATERIALIZED (
    -- One lock of each waiter: the lock that it waits for.
    SELECT DISTINCT ON (l.pid) l.pid, l.thing, l.locktype, l.mode, l.database, l.relation, l.waitstart
    FROM locks l
    JOIN waiters w ON w.pid = l.pid
    WHERE NOT l.granted
    ORDER BY l.pid
), holding AS MATERIALIZED (
    -- The strongest lock of each session on an object that another session waits for.
    SELECT DISTINCT ON (l.pid) l.pid, l.locktype, l.mode
    FROM locks l
    WHERE l.granted AND l.pid IS NOT NULL AND l.thing IN (SELECT thing FROM wanted)
    ORDER BY l.pid,
             array_position(ARRAY['AccessExclusiveLock', 'ExclusiveLock', 'ShareRowExclusiveLock', 'ShareLock',
                                  'ShareUpdateExclusiveLock', 'RowExclusiveLock', 'RowShareLock', 'AccessShareLock'], l.mode)
), rows_held AS MATERIALIZED (
    -- A session that waits for the end of a transaction already has a lock on the row that it wants. Only this lock shows the table.
    SELECT DISTINCT ON (k.pid) k.pid, k.relation, k.database
    FROM locks k
    WHERE k.locktype = 'tuple' AND k.granted
    ORDER BY k.pid
), numbers AS MATERIALIZED (
    -- A prepared transaction has no session. The lock on its transaction id identifies it.
    SELECT k.virtualtransaction, p.gid
    FROM pg_prepared_xacts p
    JOIN locks k ON k.transactionid = p.transaction AND k.locktype = 'transactionid' AND k.pid IS NULL
    WHERE EXISTS (SELECT FROM waiters WHERE 0 = ANY(blocked_by))
), prepared AS MATERIALIZED (
    SELECT k.thing, string_agg(DISTINCT n.gid, ', ' ORDER BY n.gid) AS gids
    FROM locks k
    JOIN numbers n USING (virtualtransaction)
    WHERE k.pid IS NULL AND k.granted AND k.thing IN (SELECT thing FROM wanted)
    GROUP BY k.thing
)
SELECT a.pid,
       a.leader_pid,
       coalesce(w.blocked_by, '{}') AS blocked_by,
       a.backend_type,
       a.datname::text AS datname,
       a.usename::text AS "user",
       a.application_name AS application,
       a.state,
       to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"+00"') AS started_at,
       -- The only part of the text that matters here.
       coalesce(a.backend_type = 'autovacuum worker' AND a.query LIKE '%(to prevent wraparound)', false) AS prevents_wraparound,
       l.locktype AS lock_type,
       l.mode,
       h.mode AS held_mode,
       h.locktype AS held_type,
       coalesce(c.relname::text, coalesce(l.relation, r.relation)::text) AS relation,
       extract(epoch FROM l.waitstart)::float8 AS wait_started_at,
       CASE WHEN w.pid IS NOT NULL
            THEN extract(epoch FROM clock_timestamp() - coalesce(l.waitstart, a.query_start))::float8 END AS wait_seconds,
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS transaction_seconds,
       CASE WHEN 0 = ANY(w.blocked_by) THEN q.gids END AS prepared
FROM pg_stat_activity a
LEFT JOIN waiters w ON w.pid = a.pid
LEFT JOIN wanted l ON l.pid = a.pid
LEFT JOIN holding h ON h.pid = a.pid
LEFT JOIN rows_held r ON r.pid = l.pid AND l.relation IS NULL
LEFT JOIN prepared q ON q.thing = l.thing
LEFT JOIN pg_class c
       ON c.oid = coalesce(l.relation, r.relation)
      AND coalesce(l.database, r.database) IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
WHERE w.pid IS NOT NULL
   OR a.pid IN (SELECT unnest(blocked_by) FROM waiters)
   OR a.pid IN (SELECT leader_pid FROM waiters)
LIMIT 1000
