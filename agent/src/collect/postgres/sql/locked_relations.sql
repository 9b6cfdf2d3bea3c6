-- Relations of this datname with an AccessExclusiveLock that is held or waited for. All other sessions wait for such a relation, also
-- behind a lock that is still waited for. Each relation is listed under its `owner`, the table that an index or a TOAST relation belongs
-- to, with the session that holds the lock or waits for it first. Relations that only their own transaction can see, and temporary ones,
-- are left out.
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
       -- A prepared transaction has no session. The lock on its transaction id identifies it.
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
