-- Texts of some statements, cut; the server reads its whole file of texts for this, so it is asked for rarely.
SELECT DISTINCT ON (s.queryid) s.queryid, left(s.query, 4000) AS query
FROM {schema}.pg_stat_statements(true) s
WHERE s.queryid = ANY($1)
