-- The schema and version of pg_stat_statements, and how many entries it can have. No row without the extension.
SELECT quote_ident(n.nspname) AS schema,
       has_schema_privilege(n.oid, 'USAGE') AS may_use,
       e.extversion AS version,
       current_database()::text AS datname,
       coalesce(current_setting('pg_stat_statements.max', true), '0')::float8 AS entries_max,
       current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%' AS preloaded,
       -- Whether parameters of statements would be written to the log each time, or would be compared one by one.
       (current_setting('log_parameter_max_length') = '-1'
        AND (current_setting('log_statement') = 'all'
             OR current_setting('log_min_duration_statement') ~ '^0$|[0-9]ms$'
             OR current_setting('log_min_duration_sample') ~ '^0$|[0-9]ms$')
        OR current_setting('auto_explain.log_min_duration', true) ~ '^0$|[0-9]ms$'
        OR current_setting('pgaudit.log_parameter', true) = 'on'
        OR current_setting('plan_cache_mode') = 'force_generic_plan') IS TRUE AS must_ask_briefly
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements'
