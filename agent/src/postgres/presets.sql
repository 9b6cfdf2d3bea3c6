-- Gives each setting that is preset for the datname or the role the value that PostgreSQL ships, where a session may set it. What the
-- session has set for itself has another source by now, and what holds for the whole server stays.
SELECT count(set_config(s.name, s.boot_val, false))
FROM pg_settings s
WHERE s.source IN ('database', 'user', 'database user')
  AND s.context = 'user'
