-- Every setting with the value that a new session of this role has. Values that the session of the agent has changed for itself are not
-- those of the server. Settings about only a session or a transaction are left out.
SELECT s.name AS setting,
       left(s.reset_val, 1000) AS value,
       s.unit,
       CASE WHEN s.source = 'session' AND s.reset_val IS NOT DISTINCT FROM s.boot_val THEN 'default'
            WHEN s.source = 'session' THEN 'unknown' ELSE s.source END AS source,
       s.vartype AS kind,
       s.pending_restart,
       s.reset_val IS NOT DISTINCT FROM s.boot_val AS is_default
FROM pg_settings s
WHERE s.source <> 'client'
  AND s.name NOT IN ('client_encoding', 'in_hot_standby', 'transaction_deferrable', 'transaction_isolation', 'transaction_read_only')
ORDER BY 1
LIMIT 2000
