-- How far these sequences ($1) have come; null where no number was taken yet. The lock on each is held until the statement ends. From version
-- 17 on the value is null as well where the role may not see it, so the privilege is asked again here.
SELECT q.seqrelid AS oid,
       pg_sequence_last_value(q.seqrelid) AS last_value
FROM pg_sequence q
WHERE q.seqrelid = ANY ($1) AND has_sequence_privilege(q.seqrelid, 'SELECT, USAGE')
