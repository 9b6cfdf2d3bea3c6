-- Every sequence with its limits and those of the column that it fills, narrow columns first, at most $1. The last value is not read here:
-- it needs a lock on each sequence and SELECT or USAGE, and a standby does not have it for unlogged sequences. So the state of each
-- sequence is part of the row. A datname without sequences has one row without a name.
WITH RECURSIVE locked AS MATERIALIZED (
    SELECT l.relation
    FROM pg_locks l
    WHERE l.locktype = 'relation'
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
), owners AS (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
    FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION ALL
    -- Columns that take their default from a sequence without owning it.
    SELECT d.refobjid, f.adrelid, f.adnum
    FROM pg_depend d
    JOIN pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
), domains AS (
    SELECT y.oid AS domain, y.typbasetype AS base FROM pg_type y WHERE y.typtype = 'd'
    UNION ALL
    -- A domain may be based on another domain.
    SELECT d.domain, y.typbasetype FROM domains d JOIN pg_type y ON y.oid = d.base AND y.typtype = 'd'
), bases AS MATERIALIZED (
    SELECT d.domain, d.base FROM domains d JOIN pg_type y ON y.oid = d.base AND y.typtype <> 'd'
), filled AS (
    -- The narrowest column of each sequence. An inherited column is changed where it is declared.
    SELECT DISTINCT ON (w.sequence)
           w.sequence,
           t.relname::text AS relation,
           o.nspname::text AS relation_schema,
           a.attname::text AS column_name,
           y.typname::text AS column_type,
           CASE coalesce(z.base, y.oid) WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END::int8 AS column_max
    FROM owners w
    JOIN pg_class t ON t.oid = w.relation
    JOIN pg_attribute a ON a.attrelid = w.relation AND a.attnum = w.number
    JOIN pg_namespace o ON o.oid = t.relnamespace
    JOIN pg_type y ON y.oid = a.atttypid
    LEFT JOIN bases z ON z.domain = y.oid
    ORDER BY w.sequence, column_max NULLS LAST, a.attinhcount, w.relation, w.number
), described AS (
    SELECT q.seqrelid AS oid,
           n.nspname::text AS schema,
           c.relname::text AS sequence,
           q.seqincrement > 0 AS rises,
           q.seqmin AS value_min,
           q.seqmax AS value_max,
           q.seqcycle AS cycles,
           q.seqtypid::regtype::text AS data_type,
           f.relation,
           f.relation_schema,
           f.column_name,
           f.column_type,
           f.column_max,
           CASE WHEN NOT coalesce(has_sequence_privilege(q.seqrelid, 'SELECT, USAGE'), false) THEN 'no-privilege'
                WHEN c.relpersistence = 'u' AND pg_is_in_recovery() THEN 'unlogged'
                WHEN q.seqrelid IN (SELECT l.relation FROM locked l) THEN 'locked'
                ELSE 'known' END AS state,
           count(*) OVER () AS total
    FROM pg_sequence q
    JOIN pg_class c ON c.oid = q.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN filled f ON f.sequence = q.seqrelid
    WHERE c.relpersistence <> 't'
)
SELECT current_database()::text AS datname,
       b.oid AS datname_oid,
       d.oid,
       d.schema,
       d.sequence,
       d.relation,
       d.relation_schema,
       d.data_type,
       d.column_name,
       d.column_type,
       d.column_max,
       d.rises,
       d.value_min,
       d.value_max,
       d.cycles,
       d.state,
       coalesce(d.total, 0) AS total
FROM pg_database b
LEFT JOIN described d ON true
WHERE b.datname = current_database()
ORDER BY d.column_max NULLS LAST, d.oid
LIMIT $1
