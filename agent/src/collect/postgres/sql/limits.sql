-- Roles and datnames with a limit of sessions: the agent's own role first, then those with the most used. Superusers have no limit,
-- whatever their role has.
WITH sessions AS MATERIALIZED (
    SELECT a.usesysid, a.datid, count(*) AS sessions
    FROM pg_stat_get_activity(NULL) a
    WHERE a.backend_type IN ('client backend', 'walsender')
    GROUP BY 1, 2
), used AS (
    SELECT 'user' AS kind, r.rolname::text AS name, r.rolconnlimit AS allowed,
           (SELECT coalesce(sum(s.sessions), 0) FROM sessions s WHERE s.usesysid = r.oid) AS used,
           r.rolname = session_user AS is_own
    FROM pg_roles r
    WHERE r.rolconnlimit >= 0 AND NOT r.rolsuper
    UNION ALL
    SELECT 'datname', d.datname::text, d.datconnlimit,
           (SELECT coalesce(sum(s.sessions), 0) FROM sessions s WHERE s.datid = d.oid),
           false
    FROM pg_database d
    WHERE d.datconnlimit >= 0
)
SELECT u.kind,
       u.name,
       u.allowed::float8 AS allowed,
       u.used::float8 AS used,
       (u.used / nullif(u.allowed, 0))::float8 AS ratio,
       u.is_own
FROM used u
ORDER BY u.is_own DESC, u.used / nullif(u.allowed, 0) DESC NULLS LAST, 1, 2
LIMIT 200
