-- How many commands are in progress: cheap, so that the six views are read only when there is one. A plain function, under each of them.
SELECT c.command, count(p.pid)::float8 AS running
FROM (VALUES ('vacuum', 'VACUUM'), ('analyze', 'ANALYZE'), ('create index', 'CREATE INDEX'), ('cluster', 'CLUSTER'),
             ('copy', 'COPY'), ('basebackup', 'BASEBACKUP')) c (command, kind)
LEFT JOIN LATERAL pg_stat_get_progress_info(c.kind) p ON true
GROUP BY 1
