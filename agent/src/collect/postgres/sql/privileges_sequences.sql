-- Schemas with sequences whose values this role may not read, by the owner of the sequences.
SELECT n.nspname::text AS schema,
       pg_get_userbyid(c.relowner)::text AS owner,
       count(*) AS sequences
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
-- The CASE fixes the order: has_sequence_privilege raises an error for a relation that is no sequence.
WHERE CASE WHEN c.relkind = 'S' AND c.relpersistence <> 't' THEN NOT has_sequence_privilege(c.oid, 'SELECT, USAGE') ELSE false END
GROUP BY 1, 2
ORDER BY 1, 2
LIMIT 500
