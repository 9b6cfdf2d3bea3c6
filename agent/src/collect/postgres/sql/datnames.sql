-- Databases inside the server that can be visited, and the one that is asked, each with whether the role that logs in may.
SELECT d.oid,
       d.datname::text AS datname,
       has_database_privilege(session_user, d.oid, 'CONNECT') AS may_connect,
       -- Left behind by a DROP DATABASE that was interrupted.
       d.datconnlimit = -2 AS is_invalid
FROM pg_database d
WHERE (d.datallowconn AND NOT d.datistemplate)
   OR d.datname = current_database()
ORDER BY d.datname <> current_database(), d.datname
LIMIT 1000
