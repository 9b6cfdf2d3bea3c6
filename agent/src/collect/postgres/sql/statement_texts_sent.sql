-- Texts of some statements as sessions last sent them, each of at most $3 bytes. The server does not convert them, so a text that cannot be
-- converted does not affect the others. They are not shortened here: the server may fail to cut a text in another encoding.
SELECT DISTINCT ON (a.query_id) a.query_id AS queryid, a.query
FROM pg_stat_activity a
WHERE a.query_id = ANY($1) AND a.query <> '' AND octet_length(a.query) <= $3
ORDER BY a.query_id
LIMIT $2
