-- The last values of the sequences $1; null if no number was taken yet. The lock on each is held until the statement ends. From PostgreSQL
-- 17 on the value is also null if the role may not see it, so the privilege is checked here again.
SELECT q.seqrelid AS oid,
       pg_sequence_last_value(q.seqrelid) AS last_value
FROM pg_sequence q
WHERE q.seqrelid = ANY ($1) AND has_sequence_privilege(q.seqrelid, 'SELECT, USAGE')
