-- Who answers, since when, and what this role may see.
SELECT current_setting('server_version_num')::int4 AS version_num,
       current_setting('pharos.session', true) AS sign,
       current_setting('server_version') AS version,
       (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8 AS started_at_us,
       current_user::text AS role,
       current_setting('server_encoding') AS encoding
