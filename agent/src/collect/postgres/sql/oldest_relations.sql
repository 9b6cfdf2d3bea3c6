-- The relations that prevent the ages of this datname from falling: those with the oldest ids, three for each counter, if they are older
-- than the age at which autovacuum must freeze them. A TOAST relation is listed as its table. A temporary table is listed with its session,
-- since no other one can vacuum it.
-- Before PostgreSQL 16 the server shows the number of a backend only during its transaction. Sessions are in the order of their numbers. So
-- if as many numbers are free below the next known session as below the last known one, the numbers of the sessions between them are known
-- as well.
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
), backends AS MATERIALIZED (
    SELECT a.* FROM pg_stat_get_activity(NULL) WITH ORDINALITY a WHERE EXISTS (SELECT FROM named n WHERE n.backend IS NOT NULL)
), numbers AS MATERIALIZED (
    SELECT DISTINCT k.pid, split_part(k.virtualtransaction, '/', 1)::int8 AS backend
    FROM pg_locks k
    WHERE k.pid IS NOT NULL AND k.locktype = 'virtualxid' AND k.granted AND EXISTS (SELECT FROM named n WHERE n.backend IS NOT NULL)
), anchors AS MATERIALIZED (
    SELECT b.ordinality AS place, k.backend - b.ordinality AS free FROM backends b JOIN numbers k ON k.pid = b.pid
    UNION ALL
    SELECT 0, 0
), owners AS MATERIALIZED (
    SELECT n.oid,
           coalesce((SELECT k.pid FROM numbers k WHERE k.backend = n.backend),
                    (SELECT min(b.pid)
                     FROM backends b
                     CROSS JOIN LATERAL (SELECT a.free FROM anchors a WHERE a.place < b.ordinality ORDER BY a.place DESC LIMIT 1) below
                     CROSS JOIN LATERAL (SELECT a.free FROM anchors a WHERE a.place > b.ordinality ORDER BY a.place LIMIT 1) above
                     WHERE below.free = above.free AND b.ordinality + below.free = n.backend)) AS pid
    FROM named n
    WHERE n.backend IS NOT NULL
)
SELECT current_database()::text AS datname,
       n.nspname::text AS schema,
       n.relname::text AS relation,
       CASE WHEN n.relpersistence = 't' THEN 'temporary' WHEN n.relisshared THEN 'shared' ELSE 'table' END AS kind,
       max(n.xid_age) AS xid_age,
       max(n.multixact_age) AS multixact_age,
       w.pid IS NOT NULL AND a.pid IS NULL AS is_orphaned,
       a.pid::int8 AS pid,
       pg_get_userbyid(nullif(a.usesysid, 0))::text AS "user",
       a.application_name AS application,
       extract(epoch FROM a.backend_start)::float8 AS backend_start
FROM named n
LEFT JOIN owners w ON w.oid = n.oid
LEFT JOIN backends a ON a.pid = w.pid AND a.datid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
GROUP BY 2, 3, 4, w.pid, a.pid, a.usesysid, a.application_name, a.backend_start
ORDER BY xid_age DESC
