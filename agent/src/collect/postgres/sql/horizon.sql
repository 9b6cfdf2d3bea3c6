-- Who keeps vacuum from removing rows, by the oldest transaction that they may still look at: the oldest of each kind, then the oldest
-- of all. The sort is a barrier: every transaction is read before the first age is taken, or an age could be negative.
WITH held AS MATERIALIZED (
    SELECT CASE a.backend_type WHEN 'walsender' THEN 'standby' ELSE 'backend' END AS holder,
           CASE a.backend_type WHEN 'client backend' THEN NULL WHEN 'walsender' THEN a.application_name ELSE a.backend_type END AS name,
           a.pid, a.datname::text AS datname, a.usename::text AS "user", a.application_name AS application, a.state,
           a.backend_xmin AS xmin, a.backend_xid AS xid, a.xact_start AS since
    FROM pg_stat_activity a
    WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
      AND a.pid <> pg_backend_pid()
      -- What a lazy vacuum sees keeps no other vacuum back.
      AND a.pid NOT IN (SELECT v.pid FROM pg_stat_progress_vacuum v)
    UNION ALL
    SELECT h.holder, s.slot_name::text, s.active_pid, s.database::text, NULL, NULL,
           CASE WHEN s.active THEN 'active' ELSE 'inactive' END, h.xmin, NULL, NULL
    FROM pg_replication_slots s
    CROSS JOIN LATERAL (VALUES ('slot', s.xmin), ('slot_catalog', s.catalog_xmin)) h (holder, xmin)
    WHERE h.xmin IS NOT NULL AND s.wal_status IS DISTINCT FROM 'lost'
    UNION ALL
    SELECT 'prepared', p.gid, NULL, p.database::text, p.owner::text, NULL, 'prepared', NULL, p.transaction, p.prepared
    FROM pg_prepared_xacts p
    ORDER BY 1
), aged AS (
    SELECT h.*, greatest(age(h.xmin), age(h.xid))::int8 AS age FROM held h
)
SELECT a.holder, a.name, a.pid::int8 AS pid, a.datname, a."user", a.application, a.state, a.age AS age_transactions,
       extract(epoch FROM clock_timestamp() - a.since)::float8 AS seconds
FROM aged a
ORDER BY row_number() OVER (PARTITION BY a.holder ORDER BY a.age DESC) > 1, a.age DESC
LIMIT 50
