-- The relations that prevent the ages of this datname from falling: those with the oldest ids, three for each counter, if they are older
-- than the age at which autovacuum must freeze them. A TOAST relation is listed as its table. A temporary table is listed with its session,
-- since no other one can vacuum it.
WITH aged AS MATERIALIZED (
    SELECT c.oid, c.relkind, c.relpersistence, c.relisshared, age(c.relfrozenxid)::int8 AS xid_age, mxid_age(c.relminmxid)::int8 AS multixact_age
    FROM pg_class c
    WHERE c.relkind IN ('r', 'm', 't') AND c.relfrozenxid <> '0'
), oldest AS MATERIALIZED (
    (SELECT a.* FROM aged a WHERE a.xid_age >= current_setting('autovacuum_freeze_max_age')::int8 ORDER BY a.xid_age DESC LIMIT 3)
    UNION
    (SELECT a.*
     FROM aged a
     WHERE a.multixact_age >= current_setting('autovacuum_multixact_freeze_max_age')::int8
     ORDER BY a.multixact_age DESC
     LIMIT 3)
), named AS MATERIALIZED (
    SELECT o.*, n.nspname, t.relname,
           CASE WHEN o.relpersistence = 't' THEN substring(n.nspname::text FROM '[0-9]+$')::int4 END AS backend
    FROM oldest o
    LEFT JOIN pg_class m ON o.relkind = 't' AND m.reltoastrelid = o.oid
    JOIN pg_class t ON t.oid = coalesce(m.oid, o.oid)
    JOIN pg_namespace n ON n.oid = t.relnamespace
)
SELECT current_database()::text AS datname,
       n.nspname::text AS schema,
       n.relname::text AS relation,
       CASE WHEN n.relpersistence = 't' THEN 'temporary' WHEN n.relisshared THEN 'shared' ELSE 'table' END AS kind,
       max(n.xid_age) AS xid_age,
       max(n.multixact_age) AS multixact_age,
       n.backend IS NOT NULL AND a.pid IS NULL AS is_orphaned,
       a.pid::int8 AS pid,
       pg_get_userbyid(nullif(a.usesysid, 0))::text AS "user",
       a.application_name AS application,
       extract(epoch FROM a.backend_start)::float8 AS backend_start
FROM named n
LEFT JOIN LATERAL pg_stat_get_activity(pg_stat_get_backend_pid(n.backend)) a
       ON a.pid = pg_stat_get_backend_pid(n.backend) AND a.datid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
GROUP BY 2, 3, 4, n.backend, a.pid, a.usesysid, a.application_name, a.backend_start
ORDER BY xid_age DESC
