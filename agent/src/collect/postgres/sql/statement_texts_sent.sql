-- Texts of some statements as sessions sent them last, cut as the server keeps them. The server converts none of them, so one that it could
-- not convert costs no other one.
SELECT DISTINCT ON (a.query_id) a.query_id AS queryid, a.query
FROM pg_stat_activity a
WHERE a.query_id = ANY($1) AND a.query <> ''
ORDER BY a.query_id
LIMIT $2
