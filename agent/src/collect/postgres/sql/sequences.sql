-- How much of each sequence is used, the fullest first, at most $1: up to its own limit or that of the column that it fills, whichever
-- comes first. A last value needs SELECT or USAGE on its sequence, and waits for whoever changes that, so those are not asked for it. A
-- datname without sequences gives one row without a name.
WITH locked AS MATERIALIZED (
    SELECT l.relation
    FROM pg_locks l
    WHERE l.locktype = 'relation'
      AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
), owners AS MATERIALIZED (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
    FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
    UNION
    -- Columns that take their default from a sequence without owning it.
    SELECT d.refobjid, f.adrelid, f.adnum
    FROM pg_depend d
    JOIN pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'
), described AS (
    SELECT q.seqrelid AS oid,
           n.nspname::text AS schema,
           c.relname::text AS sequence,
           q.seqincrement > 0 AS rises,
           q.seqmin,
           q.seqmax,
           q.seqcycle AS cycles,
           o.relation,
           o.column_name,
           o.column_type,
           o.column_max,
           CASE WHEN NOT has_sequence_privilege(q.seqrelid, 'SELECT, USAGE') THEN 'no-privilege'
                WHEN q.seqrelid IN (SELECT l.relation FROM locked l) THEN 'locked'
                ELSE 'known' END AS state
    FROM pg_sequence q
    JOIN pg_class c ON c.oid = q.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN LATERAL (
        SELECT t.relname::text AS relation,
               a.attname::text AS column_name,
               y.typname::text AS column_type,
               CASE coalesce(nullif(y.typbasetype, 0), y.oid) WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647 END::int8 AS column_max
        FROM owners w
        JOIN pg_class t ON t.oid = w.relation
        JOIN pg_attribute a ON a.attrelid = w.relation AND a.attnum = w.number
        JOIN pg_type y ON y.oid = a.atttypid
        WHERE w.sequence = q.seqrelid
        ORDER BY column_max NULLS LAST
        LIMIT 1
    ) o ON true
    WHERE c.relpersistence <> 't'
), asked AS MATERIALIZED (
    SELECT d.*,
           CASE WHEN d.state = 'known' THEN pg_sequence_last_value(d.oid) END AS last_value,
           CASE WHEN d.rises THEN least(d.seqmax, coalesce(d.column_max, d.seqmax))
                ELSE greatest(d.seqmin, coalesce(-d.column_max - 1, d.seqmin)) END AS last_possible
    FROM described d
)
SELECT current_database()::text AS datname,
       a.schema,
       a.sequence,
       a.relation,
       a.column_name,
       a.column_type,
       a.last_value,
       a.last_possible,
       CASE WHEN a.rises THEN (a.last_value::float8 - a.seqmin) / nullif(a.last_possible::float8 - a.seqmin, 0)
            ELSE (a.seqmax - a.last_value::float8) / nullif(a.seqmax - a.last_possible::float8, 0) END AS used_ratio,
       a.cycles,
       CASE WHEN a.state = 'known' AND a.last_value IS NULL THEN 'never-used' ELSE a.state END AS state,
       count(a.sequence) OVER () AS total
FROM (SELECT) one
LEFT JOIN asked a ON true
ORDER BY used_ratio DESC NULLS LAST, a.state = 'no-privilege' DESC, a.schema, a.sequence
LIMIT $1
