-- Data on disk besides tables: WAL, temporary files (without those of parallel queries), and WAL that waits for its archive.
SELECT (SELECT coalesce(sum(w.size), 0) FROM pg_ls_waldir() w)::float8 AS wal,
       (SELECT coalesce(sum(t.size), 0)
        FROM pg_tablespace s CROSS JOIN LATERAL pg_ls_tmpdir(s.oid) t
        WHERE s.spcname <> 'pg_global')::float8 AS temporary_files,
       (SELECT count(*) FROM pg_ls_archive_statusdir() a WHERE a.name LIKE '%.ready')::float8 AS archive_pending
