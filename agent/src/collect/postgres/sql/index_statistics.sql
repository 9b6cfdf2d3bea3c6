-- The planner's statistics for each column of the B-tree indexes $1: those of the table's column, or of the index itself for an expression.
-- Rows with the same key share it (deduplication) unless uniqueness, options, operators or collation prevent it.
SELECT i.indexrelid AS oid,
       c.reltuples::float8 AS rows,
       greatest(t.reltuples, 0)::float8 AS table_rows,
       c.reloptions::text[] AS options,
       NOT i.indisunique
           AND i.indnatts = i.indnkeyatts
           AND coalesce(NOT c.reloptions::text[] && '{deduplicate_items=off,deduplicate_items=false,deduplicate_items=no,deduplicate_items=0}', true)
           AND NOT EXISTS (
               SELECT FROM unnest(i.indclass::oid[]) x (opclass)
               JOIN pg_opclass o ON o.oid = x.opclass
               WHERE NOT EXISTS (
                   SELECT FROM pg_amproc p
                   WHERE p.amprocfamily = o.opcfamily AND p.amproclefttype = o.opcintype AND p.amprocrighttype = o.opcintype
                     AND p.amprocnum = 4))
           AND NOT EXISTS (SELECT FROM pg_collation k WHERE k.oid = ANY (i.indcollation::oid[]) AND NOT k.collisdeterministic) AS deduplicates,
       array_agg(a.attlen::int4 ORDER BY a.attnum) AS lengths,
       array_agg(CASE a.attalign WHEN 'c' THEN 1 WHEN 's' THEN 2 WHEN 'i' THEN 4 ELSE 8 END ORDER BY a.attnum) AS alignments,
       array_agg(s.stawidth ORDER BY a.attnum) AS widths,
       array_agg(s.stanullfrac::float8 ORDER BY a.attnum) AS null_fractions,
       array_agg(s.stadistinct::float8 ORDER BY a.attnum) AS distincts
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_am m ON m.oid = c.relam
JOIN pg_attribute a ON a.attrelid = i.indexrelid
LEFT JOIN pg_statistic s
       ON s.starelid = CASE WHEN i.indkey[a.attnum - 1] = 0 THEN i.indexrelid ELSE i.indrelid END
      AND s.staattnum = CASE WHEN i.indkey[a.attnum - 1] = 0 THEN a.attnum ELSE i.indkey[a.attnum - 1] END
      AND NOT s.stainherit
WHERE i.indexrelid = ANY ($1) AND m.amname = 'btree'
GROUP BY i.indexrelid, c.oid, t.oid
