-- The small caches of transaction states, multixacts, subtransactions and notifications.
SELECT s.name AS slru,
       s.blks_hit::float8 AS blocks_hit,
       s.blks_read::float8 AS blocks_read,
       s.blks_written::float8 AS blocks_written,
       s.blks_zeroed::float8 AS blocks_zeroed,
       s.flushes::float8 AS flushes,
       extract(epoch FROM s.stats_reset)::float8 AS stats_reset
FROM pg_stat_slru s
ORDER BY 1
LIMIT 50
