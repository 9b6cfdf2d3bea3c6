-- Indexes of the tables $1 with everything that decides which queries they answer and which constraints they enforce, at most $2. Indexes
-- of partitioned tables are included. A parse tree that is too long to be sent is replaced by a word that no other index has.
SELECT i.indexrelid AS oid,
       i.indrelid AS table_oid,
       n.nspname::text AS schema,
       t.relname::text AS relation,
       c.relname::text AS index,
       m.amname::text AS access_method,
       i.indnkeyatts::int4 AS key_count,
       i.indkey::int2[] AS columns,
       i.indclass::oid[] AS operator_classes,
       i.indcollation::oid[] AS collations,
       i.indoption::int2[] AS options,
       CASE WHEN octet_length(i.indexprs::text) > 8000 THEN '#' || i.indexrelid ELSE i.indexprs::text END AS expressions,
       CASE WHEN octet_length(i.indpred::text) > 8000 THEN '#' || i.indexrelid ELSE i.indpred::text END AS predicate,
       i.indisunique AS is_unique,
       i.indimmediate AS is_immediate,
       i.indisprimary AS is_primary,
       i.indisexclusion AS is_exclusion,
       i.indisreplident AS is_replica_identity,
       i.indisvalid AS is_valid,
       i.indnullsnotdistinct AS nulls_not_distinct,
       c.relispartition AS is_attached,
       c.relkind = 'I' AS is_partitioned,
       CASE WHEN c.relkind = 'I' THEN (
           WITH RECURSIVE below AS (
               SELECT c.oid AS oid
               UNION
               SELECT h.inhrelid FROM below b JOIN pg_inherits h ON h.inhparent = b.oid
           )
           SELECT coalesce(sum(p.relpages), 0) FROM below b JOIN pg_class p ON p.oid = b.oid WHERE p.relkind = 'i'
       ) END::int8 AS partitions_pages,
       k.name AS "constraint"
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_am m ON m.oid = c.relam
LEFT JOIN (SELECT conindid, min(conname::text) AS name FROM pg_constraint WHERE conindid <> 0 GROUP BY conindid) k ON k.conindid = c.oid
WHERE i.indrelid = ANY($1) AND c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace AND c.relpersistence <> 't'
ORDER BY c.oid
LIMIT $2
