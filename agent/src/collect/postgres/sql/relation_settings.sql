-- Settings and times that apply to all relations of this datname: when vacuum begins, since when scans are counted, and whether the
-- planner's statistics can be read. Counters began at their last reset, or when the server last started without them.
SELECT d.oid AS datname_oid,
       d.datname::text AS datname,
       current_setting('block_size')::int8 AS block_size,
       current_setting('autovacuum')::bool AS autovacuum,
       current_setting('autovacuum_vacuum_threshold')::float8 AS vacuum_threshold,
       current_setting('autovacuum_vacuum_scale_factor')::float8 AS vacuum_scale_factor,
       current_setting('autovacuum_vacuum_max_threshold', true)::float8 AS vacuum_threshold_max,
       current_setting('autovacuum_vacuum_insert_threshold')::float8 AS insert_threshold,
       current_setting('autovacuum_vacuum_insert_scale_factor')::float8 AS insert_scale_factor,
       current_setting('autovacuum_analyze_threshold')::float8 AS analyze_threshold,
       current_setting('autovacuum_analyze_scale_factor')::float8 AS analyze_scale_factor,
       (SELECT bool_and(has_column_privilege('pg_catalog.pg_statistic', c.name, 'SELECT'))
        FROM unnest('{starelid,staattnum,stainherit,stanullfrac,stawidth,stadistinct}'::text[]) c (name)) AS reads_statistics,
       date_part('epoch', now()) AS asked_at,
       date_part('epoch', now() - greatest(s.stats_reset, b.stats_reset)) AS statistics_age,
       date_part('epoch', s.stats_reset) AS reset_at
FROM pg_database d
LEFT JOIN pg_stat_database s ON s.datid = d.oid
CROSS JOIN pg_stat_bgwriter b
WHERE d.datname = current_database()
