-- Relations of this datname that an AccessExclusiveLock keeps everybody from, or will once it is granted: others queue behind the one
-- that waits. Each is named as its `owner`, the table that an index or a TOAST relation belongs to, with who holds the lock, else who waits for
-- it. What only its own transaction sees, and what is temporary, is locked away from nobody.
WITH locks AS MATERIALIZED (
    SELECT DISTINCT ON (l.relation) l.relation, l.granted, l.pid, l.virtualtransaction
    FROM pg_locks l
    WHERE l.locktype = 'relation'
      AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    ORDER BY l.relation, NOT l.granted, l.waitstart
)
SELECT l.relation AS oid,
       t.oid AS owner,
       n.nspname::text AS schema,
       t.relname::text AS relation,
       'AccessExclusiveLock' AS mode,
       CASE WHEN l.granted THEN 'held' ELSE 'waiting' END AS state,
       l.pid::int8 AS pid,
       pg_get_userbyid(nullif(a.usesysid, 0))::text AS "user",
       a.application_name AS application,
       a.state AS session_state,
       extract(epoch FROM a.backend_start)::float8 AS backend_start,
       -- A transaction that was prepared has no session, and the lock on its own number says which it is.
       CASE WHEN l.pid IS NULL
            THEN (SELECT min(p.gid)
                  FROM pg_prepared_xact() p
                  JOIN pg_locks k ON k.transactionid = p.transaction AND k.locktype = 'transactionid' AND k.pid IS NULL
                  WHERE k.virtualtransaction = l.virtualtransaction) END AS prepared
FROM locks l
JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_index i ON i.indexrelid = l.relation
LEFT JOIN pg_class o ON o.reltoastrelid <> 0 AND o.reltoastrelid = coalesce(i.indrelid, l.relation)
JOIN pg_class t ON t.oid = coalesce(o.oid, i.indrelid, l.relation)
JOIN pg_namespace n ON n.oid = t.relnamespace
LEFT JOIN LATERAL pg_stat_get_activity(l.pid) a ON l.pid IS NOT NULL
WHERE c.relpersistence <> 't'
LIMIT $1
