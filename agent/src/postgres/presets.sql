-- Gives each setting that is preset for the datname or the role the value that PostgreSQL ships, where a session may set it. What the
-- session has set for itself has another source by now, and what holds for the whole server stays. Where nothing is preset for anybody,
-- settings are not looked at.
SELECT count(set_config(s.name, s.boot_val, false))
FROM pg_settings s
WHERE s.source IN ('database', 'user', 'database user')
  AND s.context = 'user'
  AND EXISTS (SELECT FROM pg_db_role_setting p WHERE (p.setdatabase, p.setrole) <> (0, 0))
