-- Where pg_stat_statements is, in which version, and how many entries it keeps. No row without the extension.
SELECT quote_ident(n.nspname) AS schema,
       has_schema_privilege(n.oid, 'USAGE') AS may_use,
       e.extversion AS version,
       current_database()::text AS datname,
       coalesce(current_setting('pg_stat_statements.max', true), '0')::float8 AS entries_max,
       current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%' AS preloaded
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
