-- Subscriptions of this datname, and how many of their tables are not copied yet. A standby has a copy of these rows and copies no tables.
SELECT current_database()::text AS datname,
       s.subname::text AS subscription,
       count(r.srrelid) FILTER (WHERE r.srsubstate <> 'r')::float8 AS not_ready
FROM pg_subscription s
JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database()
LEFT JOIN pg_subscription_rel r ON r.srsubid = s.oid
WHERE NOT pg_is_in_recovery()
GROUP BY 2
ORDER BY 2
LIMIT 200
