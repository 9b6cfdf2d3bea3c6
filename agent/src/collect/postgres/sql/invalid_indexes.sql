-- Indexes of this datname that no query may use, the largest first, at most $1. Those of TOAST relations are listed with their table. Those
-- of partitioned tables are left out: they are invalid until each partition has one. An index that a session makes or rebuilds is marked,
-- since it may become valid. An index that a session drops is listed until the drop ends. `key_columns` and `condition` describe the rows
-- that a unique index requires to be unique. They are null if they call functions of users: a person will run a query with them, and such
-- functions would run with the rights of that person.
WITH locks AS MATERIALIZED (
    SELECT l.relation, l.mode, l.pid
    FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.granted AND l.mode IN ('ShareUpdateExclusiveLock', 'AccessExclusiveLock')
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
), makers AS MATERIALIZED (
    SELECT p.pid, p.index_relid FROM pg_stat_progress_create_index p WHERE p.datname = current_database()
), invalid AS MATERIALIZED (
    SELECT i.*, c.relname, c.relpages, c.relispartition, c.relnamespace,
           coalesce(o.oid, t.oid) AS table_oid,
           -- The index that REINDEX CONCURRENTLY makes and may leave behind. A long name is shortened before its ending.
           substring(c.relname::text FROM '^(.*)_cc(?:new|old)[0-9]*$') AS base,
           i.indisunique AND NOT EXISTS (
               SELECT FROM pg_depend d
               WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid >= 16384
                 AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)) AS is_askable
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    JOIN pg_class t ON t.oid = i.indrelid
    LEFT JOIN pg_class o ON t.relkind = 't' AND o.reltoastrelid = t.oid
    WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.oid >= 16384 AND c.relpersistence <> 't'
)
SELECT i.indexrelid AS oid,
       n.nspname::text AS schema,
       t.relname::text AS relation,
       i.relname::text AS index,
       x.nspname::text AS index_schema,
       i.relpages::int8 AS pages,
       i.relispartition AS is_attached,
       i.indisexclusion AS is_exclusion,
       i.indisunique AS is_unique,
       (SELECT min(k.conname::text) FROM pg_constraint k WHERE k.conindid = i.indexrelid) AS "constraint",
       (SELECT min(b.relname::text)
        FROM pg_index j
        JOIN pg_class b ON b.oid = j.indexrelid
        WHERE j.indrelid = i.indrelid AND j.indexrelid <> i.indexrelid AND i.base <> '' AND starts_with(b.relname::text, i.base)
          AND b.relname::text !~ '_cc(new|old)[0-9]*$') AS leftover_of,
       -- The text of each column or expression. Nothing is read of a table with an AccessExclusiveLock.
       CASE WHEN i.is_askable AND NOT EXISTS (SELECT FROM locks l WHERE l.relation = i.indrelid AND l.mode = 'AccessExclusiveLock')
            -- An index that was just dropped has no text.
            THEN (SELECT array_agg(k.key ORDER BY k.number) FILTER (WHERE k.key IS NOT NULL)
                  FROM (SELECT g.number, pg_get_indexdef(i.indexrelid, g.number, false)
                        FROM generate_series(1, i.indnkeyatts::int4) g (number)) k (number, key)) END AS key_columns,
       CASE WHEN i.is_askable AND i.indpred IS NOT NULL
                 AND NOT EXISTS (SELECT FROM locks l WHERE l.relation = i.indrelid AND l.mode = 'AccessExclusiveLock')
            THEN pg_get_expr(i.indpred, i.indrelid) END AS condition,
       -- From PostgreSQL 15 on.
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false) AS nulls_not_distinct,
       -- REINDEX locks all indexes that it rebuilds, but reports only one at a time.
       EXISTS (SELECT FROM makers m WHERE m.index_relid = i.indexrelid)
           OR EXISTS (SELECT FROM locks l JOIN makers m ON m.pid = l.pid WHERE l.relation = i.indexrelid) AS is_being_made,
       w.pid AS locker_pid,
       w."user" AS locker_user,
       w.backend_start AS locker_start,
       w.waits AS locker_waits
FROM invalid i
LEFT JOIN LATERAL (
    SELECT a.pid, a.usename::text AS "user", date_part('epoch', a.backend_start) AS backend_start,
           a.wait_event_type = 'Lock' AS waits
    FROM pg_stat_activity a
    WHERE a.pid IN (SELECT l.pid FROM locks l WHERE l.relation = i.indexrelid)
    ORDER BY a.xact_start
    LIMIT 1) w ON true
JOIN pg_class t ON t.oid = i.table_oid
JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_namespace x ON x.oid = i.relnamespace
ORDER BY i.relpages DESC, i.indexrelid
LIMIT $1
