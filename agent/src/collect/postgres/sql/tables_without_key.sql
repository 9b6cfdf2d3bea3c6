-- Tables without a primary key, the largest first, at most $1, each with what could become a key: a unique index, or a column name that is
-- free in the table and in all tables below it. Partitions are listed with their parent, whose size is that of all of them together. Tables
-- of an extension are left out, since users should not change them.
WITH RECURSIVE partitions AS (
    SELECT c.oid AS root, c.oid FROM pg_class c WHERE c.relkind = 'p' AND NOT c.relispartition
    UNION ALL
    SELECT p.root, h.inhrelid FROM partitions p JOIN pg_inherits h ON h.inhparent = p.oid
), partitioned AS (
    SELECT p.root, sum(c.relpages)::int8 AS pages, sum(nullif(c.reltuples, -1))::float8 AS rows
    FROM partitions p
    JOIN pg_class c ON c.oid = p.oid
    WHERE c.relkind <> 'p'
    GROUP BY p.root
), keyless AS MATERIALIZED (
    SELECT c.oid, c.relnamespace, c.relname, c.relreplident, c.relkind, c.reloftype,
           CASE c.relkind WHEN 'p' THEN coalesce(s.pages, 0) ELSE c.relpages END::int8 AS pages,
           CASE c.relkind WHEN 'p' THEN s.rows ELSE nullif(c.reltuples, -1) END::float8 AS rows
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN partitioned s ON s.root = c.oid
    WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND c.relpersistence <> 't' AND NOT c.relispartition
      AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p')
      AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
    ORDER BY pages DESC, c.oid
    LIMIT $1
), below AS (
    SELECT k.oid AS root, k.oid FROM keyless k
    UNION
    SELECT b.root, h.inhrelid FROM below b JOIN pg_inherits h ON h.inhparent = b.oid
)
SELECT k.oid,
       n.nspname::text AS schema,
       k.relname::text AS relation,
       k.pages,
       k.rows,
       CASE k.relreplident WHEN 'f' THEN 'full' WHEN 'i' THEN 'an index' WHEN 'n' THEN 'none' ELSE 'default' END AS replica_identity,
       CASE WHEN k.relkind = 'p' THEN 'partitioned'
            WHEN EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = k.oid) THEN 'parent'
            ELSE 'table' END AS kind,
       u.column_list,
       u.is_nullable,
       -- The index of a constraint or of a partitioned table cannot become that of the key.
       CASE WHEN k.relkind = 'r' AND NOT u.backs_constraint THEN u.index END AS unique_index,
       p.partition_key,
       coalesce((SELECT f.name
                 FROM unnest(ARRAY['id', 'row_id', 'row_number', 'row_key']) WITH ORDINALITY f (name, place)
                 WHERE NOT EXISTS (
                     SELECT FROM below b JOIN pg_attribute a ON a.attrelid = b.oid WHERE b.root = k.oid AND a.attname = f.name)
                 ORDER BY f.place
                 LIMIT 1), 'row_' || k.oid) AS free_column,
       CASE WHEN p.has_expression THEN 'its partitions are divided by an expression, which a key cannot hold'
            WHEN k.relkind = 'p' THEN
                (SELECT min(CASE c.relkind WHEN 'f' THEN 'its partition ' || c.oid::regclass || ' is a foreign table'
                                 ELSE 'its partition ' || c.oid::regclass || ' has a primary key of its own' END)
                 FROM below b
                 JOIN pg_class c ON c.oid = b.oid
                 WHERE b.root = k.oid AND b.oid <> k.oid
                   AND (c.relkind = 'f' OR EXISTS (SELECT FROM pg_constraint x WHERE x.conrelid = c.oid AND x.contype = 'p')))
            WHEN k.reloftype <> 0 AND u.column_list IS NULL THEN 'its columns are those of type ' || k.reloftype::regtype
            END AS obstacle
FROM keyless k
JOIN pg_namespace n ON n.oid = k.relnamespace
LEFT JOIN LATERAL (
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY x.position) AS partition_key, bool_or(x.number = 0) AS has_expression
    FROM pg_partitioned_table y
    CROSS JOIN LATERAL unnest(y.partattrs::int2[]) WITH ORDINALITY x (number, position)
    LEFT JOIN pg_attribute a ON a.attrelid = y.partrelid AND a.attnum = x.number AND x.number > 0
    WHERE y.partrelid = k.oid
) p ON true
LEFT JOIN LATERAL (
    -- The index must be on whole columns, with the operators, order and collation of a key.
    SELECT b.relname::text AS index,
           string_agg(quote_ident(a.attname), ', ' ORDER BY x.position) AS column_list,
           bool_or(NOT a.attnotnull) AS is_nullable,
           EXISTS (SELECT FROM pg_constraint q WHERE q.conindid = b.oid) AS backs_constraint
    FROM pg_index i
    JOIN pg_class b ON b.oid = i.indexrelid
    CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indcollation::oid[], i.indclass::oid[], i.indoption::int2[])
        WITH ORDINALITY x (number, collation_oid, opclass, option, position)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = x.number
    JOIN pg_opclass o ON o.oid = x.opclass
    WHERE i.indrelid = k.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND NOT i.indisexclusion
      AND i.indexprs IS NULL AND i.indpred IS NULL AND x.position <= i.indnkeyatts
      AND NOT coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false)
    GROUP BY b.oid, b.relname
    HAVING bool_and(x.option = 0 AND o.opcdefault AND x.collation_oid = a.attcollation)
    ORDER BY bool_or(NOT a.attnotnull), count(*), b.oid
    LIMIT 1
) u ON true
ORDER BY k.pages DESC, k.oid
