-- Indexes of the tables of this datname, the largest first, at most $1. From PostgreSQL 16 on with the time of their last scan.
SELECT i.indexrelid AS oid,
       i.indrelid AS table_oid,
       c.relname::text AS index,
       c.relpages::int8 AS pages,
       i.indisunique AS is_unique,
       i.indisprimary AS is_primary,
       i.indisvalid AS is_valid,
       pg_stat_get_numscans(c.oid) AS scans,
       pg_stat_get_tuples_returned(c.oid) AS rows_read,
       pg_stat_get_tuples_fetched(c.oid) AS rows_fetched,
       date_part('epoch', pg_stat_get_lastscan(c.oid)) AS last_scan_at
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relkind = 'i' AND c.relnamespace <> 'pg_toast'::regnamespace AND c.relpersistence <> 't' AND NOT c.relisshared
ORDER BY c.relpages DESC
LIMIT $1
