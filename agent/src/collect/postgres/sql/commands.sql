-- How many commands are in progress. The query is cheap, so that the six views are read only while there is one. It calls the function on
-- which each of the views is based.
SELECT c.command, count(p.pid)::float8 AS running
FROM (VALUES ('vacuum', 'VACUUM'), ('analyze', 'ANALYZE'), ('create index', 'CREATE INDEX'), ('cluster', 'CLUSTER'),
             ('copy', 'COPY'), ('basebackup', 'BASEBACKUP')) c (command, kind)
LEFT JOIN LATERAL pg_stat_get_progress_info(c.kind) p ON true
GROUP BY 1
