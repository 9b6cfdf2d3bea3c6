-- Tables and materialised views of this datname, each with its TOAST relation, the largest first, at most $1. The query waits for no lock;
-- pages are those that the last vacuum or analyze counted. An order by more columns would cost more than it is worth.
SELECT c.oid,
       n.nspname::text AS schema,
       c.relname::text AS relation,
       c.relpages::int8 AS heap_pages,
       coalesce(t.relpages, 0)::int8 AS toast_pages,
       c.reltuples::float8 AS planned_rows,
       c.reloptions::text[] AS options,
       pg_stat_get_live_tuples(c.oid) AS live_rows,
       pg_stat_get_dead_tuples(c.oid) AS dead_rows,
       pg_stat_get_mod_since_analyze(c.oid) AS changes_since_analyze,
       pg_stat_get_ins_since_vacuum(c.oid) AS inserts_since_vacuum,
       pg_stat_get_numscans(c.oid) AS sequential_scans,
       pg_stat_get_tuples_returned(c.oid) AS sequential_rows,
       pg_stat_get_tuples_inserted(c.oid) AS rows_inserted,
       pg_stat_get_tuples_updated(c.oid) AS rows_updated,
       pg_stat_get_tuples_deleted(c.oid) AS rows_deleted,
       pg_stat_get_tuples_hot_updated(c.oid) AS hot_updates,
       date_part('epoch', greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid))) AS vacuumed_at,
       date_part('epoch', greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid))) AS analyzed_at,
       greatest(age(c.relfrozenxid), age(t.relfrozenxid))::int8 AS xid_age,
       greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid))::int8 AS multixact_age
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid AND t.relkind = 't'
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND NOT c.relisshared
ORDER BY c.relpages DESC
LIMIT $1
