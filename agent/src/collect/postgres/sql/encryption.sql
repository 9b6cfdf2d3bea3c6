-- Sessions by how they are encrypted and where they come from. Loopback is as local as a socket. Our own do
-- not count.
SELECT CASE WHEN t.ssl THEN 'tls' WHEN g.encrypted THEN 'gss' ELSE 'none' END AS encryption,
       CASE WHEN a.client_addr IS NULL OR a.client_addr <<= '127.0.0.0/8' OR a.client_addr = '::1' THEN 'local' ELSE 'network' END AS origin,
       t.version,
       t.cipher,
       count(*)::int8 AS sessions
FROM pg_stat_activity a
LEFT JOIN pg_stat_ssl t ON t.pid = a.pid
LEFT JOIN pg_stat_gssapi g ON g.pid = a.pid
WHERE a.backend_type IN ('client backend', 'walsender')
  AND NOT (a.application_name = current_setting('application_name') AND a.usename = current_user)
GROUP BY 1, 2, 3, 4
ORDER BY sessions DESC
LIMIT 200
