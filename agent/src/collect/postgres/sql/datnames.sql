-- Databases inside the server that can be visited, and whether this role may.
SELECT d.datname::text AS datname,
       has_database_privilege(d.oid, 'CONNECT') AS may_connect
FROM pg_database d
WHERE d.datallowconn
  AND NOT d.datistemplate
ORDER BY d.datname
LIMIT 1000
