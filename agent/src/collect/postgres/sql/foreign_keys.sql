-- Foreign keys of this datname with the table that refers, those of the largest tables first, at most $1. Keys that partitions inherit are
-- listed with their parent, whose size is that of all partitions together.
WITH RECURSIVE partitions AS (
    SELECT k.conrelid AS root, k.conrelid AS oid
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relkind = 'p'
    UNION
    SELECT p.root, h.inhrelid FROM partitions p JOIN pg_inherits h ON h.inhparent = p.oid
), partitioned AS (
    SELECT p.root, sum(c.relpages)::int8 AS pages, sum(nullif(c.reltuples, -1))::float8 AS rows
    FROM partitions p
    JOIN pg_class c ON c.oid = p.oid
    WHERE c.relkind <> 'p'
    GROUP BY p.root
)
SELECT k.conname::text AS name,
       k.conrelid AS table_oid,
       n.nspname::text AS schema,
       c.relname::text AS relation,
       k.conkey::int2[] AS columns,
       (SELECT string_agg(a.attname::text, ', ' ORDER BY x.position)
        FROM unnest(k.conkey) WITH ORDINALITY x (number, position)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.number) AS column_names,
       -- As SQL writes them: a name may hold a comma.
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY x.position)
        FROM unnest(k.conkey) WITH ORDINALITY x (number, position)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.number) AS column_list,
       CASE c.relkind WHEN 'p' THEN 'partitioned' ELSE 'table' END AS kind,
       CASE c.relkind WHEN 'p' THEN coalesce(s.pages, 0) ELSE c.relpages END::int8 AS pages,
       CASE c.relkind WHEN 'p' THEN s.rows ELSE nullif(c.reltuples, -1) END::float8 AS rows
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN partitioned s ON s.root = c.oid
WHERE k.contype = 'f' AND k.conparentid = 0
ORDER BY pages DESC, k.oid
LIMIT $1
