-- Tables without a primary key, the largest first, at most $1. Partitions are told with their parent; what belongs to an extension is not
-- its user's to change.
SELECT c.oid,
       n.nspname::text AS schema,
       c.relname::text AS relation,
       c.relpages::int8 AS pages,
       greatest(c.reltuples, 0)::float8 AS rows,
       CASE c.relreplident WHEN 'f' THEN 'full' WHEN 'i' THEN 'an index' WHEN 'n' THEN 'none' ELSE 'default' END AS replica_identity
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND c.relpersistence <> 't' AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p')
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY c.relpages DESC, c.oid
LIMIT $1
