-- What prevents vacuum from removing rows, by the oldest transaction that it may still read: the oldest of each kind first, then the oldest
-- of all. The sort is a barrier: every transaction is read before the first age is computed, or an age could be negative. The query calls
-- the functions on which the views are based. That costs a third, since planning the views is most of the cost.
WITH held AS MATERIALIZED (
    SELECT CASE a.backend_type WHEN 'walsender' THEN 'standby' ELSE 'backend' END AS holder,
           CASE a.backend_type WHEN 'client backend' THEN NULL WHEN 'walsender' THEN a.application_name ELSE a.backend_type END AS name,
           a.pid, nullif(a.datid, 0) AS datid, nullif(a.usesysid, 0) AS usesysid, a.application_name AS application, a.state,
           a.backend_xmin AS xmin, a.backend_xid AS xid, a.xact_start AS since, a.backend_start
    FROM pg_stat_get_activity(NULL) a
    WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
      AND a.pid <> pg_backend_pid()
      -- The snapshot of a lazy vacuum does not affect other vacuums.
      AND a.pid NOT IN (SELECT v.pid FROM pg_stat_get_progress_info('VACUUM') v)
    UNION ALL
    SELECT h.holder, s.slot_name::text, s.active_pid, s.datoid, NULL, NULL,
           CASE WHEN s.active THEN 'active' ELSE 'inactive' END, h.xmin, NULL, NULL, NULL
    FROM pg_get_replication_slots() s
    CROSS JOIN LATERAL (VALUES ('slot', s.xmin), ('slot_catalog', s.catalog_xmin)) h (holder, xmin)
    WHERE h.xmin IS NOT NULL AND s.wal_status IS DISTINCT FROM 'lost'
    UNION ALL
    SELECT 'prepared', p.gid, NULL, p.dbid, p.ownerid, NULL, 'prepared', NULL, p.transaction, p.prepared, NULL
    FROM pg_prepared_xact() p
    ORDER BY 1
)
SELECT h.holder, h.name, h.pid::int8 AS pid,
       (SELECT d.datname::text FROM pg_database d WHERE d.oid = h.datid) AS datname,
       pg_get_userbyid(h.usesysid)::text AS "user", h.application, h.state,
       greatest(age(h.xmin), age(h.xid))::int8 AS age_transactions,
       extract(epoch FROM clock_timestamp() - h.since)::float8 AS seconds,
       extract(epoch FROM h.backend_start)::float8 AS backend_start
FROM held h
ORDER BY row_number() OVER (PARTITION BY h.holder ORDER BY greatest(age(h.xmin), age(h.xid)) DESC) > 1,
         age_transactions DESC
LIMIT 50
