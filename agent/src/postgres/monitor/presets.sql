-- Settings that are preset for the datname or the role and that a session may set, with the default of PostgreSQL. Settings that the
-- session has set itself have another source by now. If nothing is preset for any role or datname, pg_settings is not read. Settings of a
-- transaction follow the defaults of the session.
SELECT s.name,
       s.boot_val AS shipped
FROM pg_settings s
WHERE s.source IN ('database', 'user', 'database user')
  AND s.context = 'user'
  AND s.name NOT LIKE 'transaction\_%'
  AND EXISTS (SELECT FROM pg_db_role_setting p WHERE (p.setdatabase, p.setrole) <> (0, 0))
ORDER BY 1
