-- What this role may read on the whole server, by privilege: a role with any name may have granted it.
SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS reads_all_stats,
       pg_has_role(current_user, 'pg_read_all_settings', 'USAGE') AS reads_all_settings,
       has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE')
           AND has_function_privilege('pg_catalog.pg_ls_tmpdir()', 'EXECUTE')
           AND has_function_privilege('pg_catalog.pg_ls_tmpdir(oid)', 'EXECUTE')
           AND has_function_privilege('pg_catalog.pg_ls_archive_statusdir()', 'EXECUTE') AS lists_files,
       r.rolinherit AS inherits,
       current_setting('track_activities')::bool AS tracks_activities,
       current_setting('track_counts')::bool AS tracks_counts,
       pg_is_in_recovery() AS in_recovery,
       current_database()::text AS datname,
       -- The extension's settings exist once its library is loaded. Not every role may read which libraries are loaded.
       EXISTS (SELECT FROM pg_settings s WHERE s.name = 'pg_stat_statements.max') AS statements_loaded,
       EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = 'pg_stat_statements') AS statements_available,
       e.extversion AS statements_version,
       to_regnamespace('public') IS NOT NULL AS has_public,
       n.nspname::text AS statements_schema,
       has_schema_privilege(n.oid, 'USAGE') AS uses_statements_schema
FROM pg_roles r
LEFT JOIN pg_extension e ON e.extname = 'pg_stat_statements'
LEFT JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE r.rolname = current_user
