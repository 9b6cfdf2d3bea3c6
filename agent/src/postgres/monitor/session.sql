-- The server, its start, the role of the session and its rights. A preset may have changed the role that logged in to another one.
SELECT current_setting('server_version_num')::int4 AS version_num,
       current_setting('server_version') AS version,
       (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS started_at_us,
       current_user::text AS role,
       session_user::text AS login,
       current_setting('server_encoding') AS encoding,
       (SELECT count(*) FILTER (WHERE pg_has_role(session_user, r.oid, 'USAGE')) > count(*) FILTER (WHERE pg_has_role(current_user, r.oid, 'USAGE'))
        FROM pg_roles r
        WHERE r.rolname IN ('pg_monitor', 'pg_read_all_stats', 'pg_read_all_settings', 'pg_stat_scan_tables')) AS login_has_more
