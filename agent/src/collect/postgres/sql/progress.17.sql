-- Commands that report their progress, each with the numbers of its current phase. Since PostgreSQL 17 a vacuum counts indexes.
WITH commands AS (
    SELECT 'vacuum' AS command, 'VACUUM' AS statement, v.pid, v.datid, v.datname::text AS datname, v.relid, v.phase,
           CASE v.phase WHEN 'scanning heap' THEN v.heap_blks_scanned WHEN 'vacuuming heap' THEN v.heap_blks_vacuumed
                        WHEN 'vacuuming indexes' THEN v.indexes_processed WHEN 'cleaning up indexes' THEN v.indexes_processed END AS done,
           CASE WHEN v.phase IN ('scanning heap', 'vacuuming heap') THEN v.heap_blks_total
                WHEN v.phase IN ('vacuuming indexes', 'cleaning up indexes') THEN nullif(v.indexes_total, 0) END AS total,
           CASE WHEN v.phase IN ('vacuuming indexes', 'cleaning up indexes') THEN 'indexes' ELSE 'blocks' END AS unit
    FROM pg_stat_progress_vacuum v
    UNION ALL
    SELECT 'analyze', 'ANALYZE', a.pid, a.datid, a.datname::text, a.relid, a.phase,
           CASE a.phase WHEN 'acquiring sample rows' THEN a.sample_blks_scanned
                        WHEN 'acquiring inherited sample rows' THEN a.child_tables_done
                        WHEN 'computing extended statistics' THEN a.ext_stats_computed END,
           CASE a.phase WHEN 'acquiring sample rows' THEN a.sample_blks_total
                        WHEN 'acquiring inherited sample rows' THEN a.child_tables_total
                        WHEN 'computing extended statistics' THEN a.ext_stats_total END,
           CASE a.phase WHEN 'acquiring inherited sample rows' THEN 'tables'
                        WHEN 'computing extended statistics' THEN 'statistics' ELSE 'blocks' END
    FROM pg_stat_progress_analyze a
    UNION ALL
    SELECT 'create index', i.command, i.pid, i.datid, i.datname::text, i.relid, i.phase,
           CASE WHEN i.phase LIKE 'waiting%' THEN i.lockers_done WHEN i.tuples_total > 0 THEN i.tuples_done ELSE i.blocks_done END,
           CASE WHEN i.phase LIKE 'waiting%' THEN i.lockers_total WHEN i.tuples_total > 0 THEN i.tuples_total ELSE i.blocks_total END,
           CASE WHEN i.phase LIKE 'waiting%' THEN 'transactions' WHEN i.tuples_total > 0 THEN 'rows' ELSE 'blocks' END
    FROM pg_stat_progress_create_index i
    UNION ALL
    SELECT 'cluster', c.command, c.pid, c.datid, c.datname::text, c.relid, c.phase,
           CASE c.phase WHEN 'seq scanning heap' THEN c.heap_blks_scanned WHEN 'index scanning heap' THEN c.heap_tuples_scanned
                        WHEN 'writing new heap' THEN c.heap_tuples_written WHEN 'rebuilding index' THEN c.index_rebuild_count END,
           CASE c.phase WHEN 'seq scanning heap' THEN c.heap_blks_total WHEN 'writing new heap' THEN c.heap_tuples_scanned END,
           CASE c.phase WHEN 'seq scanning heap' THEN 'blocks' WHEN 'rebuilding index' THEN 'indexes' ELSE 'rows' END
    FROM pg_stat_progress_cluster c
    UNION ALL
    SELECT 'copy', p.command, p.pid, p.datid, p.datname::text, p.relid, NULL,
           CASE WHEN p.bytes_total > 0 THEN p.bytes_processed ELSE p.tuples_processed END,
           nullif(p.bytes_total, 0),
           CASE WHEN p.bytes_total > 0 THEN 'bytes' ELSE 'rows' END
    FROM pg_stat_progress_copy p
    UNION ALL
    SELECT 'basebackup', 'BASE_BACKUP', b.pid, NULL, NULL, NULL, b.phase,
           CASE b.phase WHEN 'streaming database files' THEN b.backup_streamed END,
           CASE b.phase WHEN 'streaming database files' THEN b.backup_total END,
           'bytes'
    FROM pg_stat_progress_basebackup b
)
SELECT c.command,
       c.statement,
       c.pid::int8 AS pid,
       c.datname,
       -- Relations of other datnames have no name here.
       coalesce((SELECT n.nspname || '.' || r.relname
                 FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
                 WHERE r.oid = c.relid AND c.datname = current_database()),
                nullif(c.relid, 0)::text) AS relation,
       c.phase,
       c.done::float8 AS done,
       c.total::float8 AS total,
       c.unit,
       extract(epoch FROM clock_timestamp() - s.query_start)::float8 AS seconds
FROM commands c
LEFT JOIN LATERAL pg_stat_get_activity(c.pid) s ON true
ORDER BY s.query_start
LIMIT 100
