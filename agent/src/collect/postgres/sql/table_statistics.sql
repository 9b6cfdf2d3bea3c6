-- The planner's statistics about the width of each column of the tables $1, in the order of the columns in a row. A dropped column is null
-- in every row written since.
SELECT a.attrelid AS oid,
       array_agg(a.attlen::int4 ORDER BY a.attnum) AS lengths,
       array_agg(CASE a.attalign WHEN 'c' THEN 1 WHEN 's' THEN 2 WHEN 'i' THEN 4 ELSE 8 END ORDER BY a.attnum) AS alignments,
       array_agg(CASE WHEN a.attisdropped THEN 0 ELSE s.stawidth END ORDER BY a.attnum) AS widths,
       array_agg(CASE WHEN a.attisdropped THEN 1 ELSE s.stanullfrac::float8 END ORDER BY a.attnum) AS null_fractions
FROM pg_attribute a
LEFT JOIN pg_statistic s ON s.starelid = a.attrelid AND s.staattnum = a.attnum AND NOT s.stainherit
WHERE a.attrelid = ANY ($1) AND a.attnum > 0
GROUP BY a.attrelid
