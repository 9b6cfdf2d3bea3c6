-- Tables of this datname that have indexes, with their number, those with the largest indexes first, at most $1.
SELECT i.indrelid AS table_oid,
       count(*)::int8 AS indexes
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace AND c.relpersistence <> 't'
GROUP BY i.indrelid
ORDER BY sum(greatest(c.relpages, 0)) DESC, i.indrelid
LIMIT $1
