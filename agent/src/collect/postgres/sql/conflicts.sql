-- Statements that this standby cancelled so that recovery could continue, by reason. No row on a primary.
SELECT CASE WHEN c.place <= 50 THEN c.datname ELSE 'other' END AS datname,
       v.reason,
       sum(v.conflicts)::float8 AS conflicts
FROM (SELECT d.*, row_number() OVER (ORDER BY d.datid) AS place FROM pg_stat_database_conflicts d) c
CROSS JOIN LATERAL (VALUES ('tablespace', c.confl_tablespace), ('lock', c.confl_lock), ('snapshot', c.confl_snapshot),
                           ('buffer-pin', c.confl_bufferpin), ('deadlock', c.confl_deadlock)) v (reason, conflicts)
WHERE pg_is_in_recovery()
GROUP BY 1, 2
ORDER BY 1, 2
LIMIT 400
