-- Every setting as a new session of this role has it: what our own session changed for itself is not the server's. What is only about a
-- session or a transaction is left out.
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
