-- Texts of some statements as sessions sent them last, those of $3 bytes at most. The server converts none of them, so one that it could not
-- convert costs no other one. They are not cut here: the server may fail to cut a text of another encoding.
SELECT DISTINCT ON (a.query_id) a.query_id AS queryid, a.query
FROM pg_stat_activity a
WHERE a.query_id = ANY($1) AND a.query <> '' AND octet_length(a.query) <= $3
ORDER BY a.query_id
LIMIT $2
