-- Settings that are preset for the datname or the role, and that a session may set: with the value that PostgreSQL ships. What the session
-- has set for itself has another source by now. Where nothing is preset for anybody, settings are not looked at. Those of a transaction
-- follow the session's defaults.
SELECT s.name,
       s.boot_val AS shipped
FROM pg_settings s
WHERE s.source IN ('database', 'user', 'database user')
  AND s.context = 'user'
  AND s.name NOT LIKE 'transaction\_%'
  AND EXISTS (SELECT FROM pg_db_role_setting p WHERE (p.setdatabase, p.setrole) <> (0, 0))
ORDER BY 1
