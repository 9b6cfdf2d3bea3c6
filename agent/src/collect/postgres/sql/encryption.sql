-- Sessions by encryption and origin. Loopback counts as local, as a socket does. Sessions of the agent do not count. The query calls the
-- function on which pg_stat_activity, pg_stat_ssl and pg_stat_gssapi are based, so that it runs only once.
SELECT CASE WHEN a.ssl THEN 'tls' WHEN a.gss_enc THEN 'gss' ELSE 'none' END AS encryption,
       CASE WHEN a.client_addr IS NULL OR a.client_addr <<= '127.0.0.0/8' OR a.client_addr = '::1'
            THEN 'local' ELSE 'network' END AS origin,
       a.sslversion AS version,
       a.sslcipher AS cipher,
       count(*)::int8 AS sessions
FROM pg_stat_get_activity(NULL) a
WHERE a.backend_type IN ('client backend', 'walsender')
  AND NOT (a.application_name = current_setting('application_name') AND pg_get_userbyid(a.usesysid) = session_user)
GROUP BY 1, 2, 3, 4
ORDER BY sessions DESC
LIMIT 200
