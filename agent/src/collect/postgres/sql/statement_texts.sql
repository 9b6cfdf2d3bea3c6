-- Texts of some statements, shortened, up to a number of bytes together. The server reads its whole file of texts for this, so the query
-- runs rarely.
SELECT t.queryid, t.query
FROM (
    SELECT c.queryid, c.query, sum(octet_length(c.query)) OVER (ORDER BY c.queryid) AS bytes
    FROM (
        SELECT DISTINCT ON (s.queryid) s.queryid, left(s.query, 4000) AS query
        FROM {schema}.pg_stat_statements(true) s
        WHERE s.queryid = ANY($1)
        ORDER BY s.queryid
    ) c
) t
-- One text is always less than the bytes that are asked for.
WHERE t.bytes <= $2
