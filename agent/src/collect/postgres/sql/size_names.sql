-- Datnames and tablespaces, which have sizes of their own, at most $1.
SELECT 'datname' AS kind, d.oid, d.datname::text AS name FROM pg_database d
UNION ALL
SELECT 'tablespace', t.oid, t.spcname::text FROM pg_tablespace t
ORDER BY 1, 3
LIMIT $1
