-- Databases inside the server that can be visited, and the one that is asked, each with whether this role may.
SELECT d.oid,
       d.datname::text AS datname,
       has_database_privilege(d.oid, 'CONNECT') AS may_connect
FROM pg_database d
WHERE (d.datallowconn AND NOT d.datistemplate)
   OR d.datname = current_database()
ORDER BY d.datname <> current_database(), d.datname
LIMIT 1000
