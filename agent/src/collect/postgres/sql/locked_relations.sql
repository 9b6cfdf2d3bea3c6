-- Relations of this datname that an AccessExclusiveLock keeps everybody from, or will once it is granted: others queue behind the one
-- that waits. `owner` is the table that an index or a TOAST relation belongs to.
WITH locks AS MATERIALIZED (
    SELECT l.relation, bool_or(l.granted) AS is_held
    FROM pg_locks l
    WHERE l.locktype = 'relation'
      AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    GROUP BY l.relation
    LIMIT $1
)
SELECT l.relation AS oid,
       coalesce(o.oid, i.indrelid, l.relation) AS owner,
       n.nspname::text AS schema,
       c.relname::text AS relation,
       'AccessExclusiveLock' AS mode,
       CASE WHEN l.is_held THEN 'held' ELSE 'waiting' END AS state
FROM locks l
LEFT JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = l.relation
LEFT JOIN pg_class o ON o.reltoastrelid <> 0 AND o.reltoastrelid = coalesce(i.indrelid, l.relation)
