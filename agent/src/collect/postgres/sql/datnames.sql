-- Databases of the server, the current one first, each with the first reason why the role of this login cannot connect to it, if there is
-- one. template0 and template1 are left out; other templates belong to users. A database that an interrupted DROP DATABASE left behind has
-- a limit of -2. `total` is the number of databases, of which at most 1,000 are returned.
SELECT d.oid,
       d.datname::text AS datname,
       CASE WHEN d.datconnlimit = -2 THEN 'invalid'
            WHEN NOT d.datallowconn THEN 'closed'
            WHEN d.datconnlimit = 0 AND NOT r.rolsuper THEN 'limit'
            WHEN NOT has_database_privilege(session_user, d.oid, 'CONNECT') THEN 'privilege' END AS hindrance,
       d.datistemplate AS is_template,
       count(*) OVER () AS total
FROM pg_database d
CROSS JOIN (SELECT coalesce(bool_or(r.rolsuper), false) AS rolsuper FROM pg_roles r WHERE r.rolname = session_user) r
WHERE d.datname NOT IN ('template0', 'template1')
   OR d.datname = current_database()
ORDER BY d.datname <> current_database(), d.datname
LIMIT 1000
