-- How many locks of each mode are held, and which share of the shared lock table all locks use. Fast-path locks are not in that table. It
-- has room for max_locks_per_transaction locks of each process that may take locks.
WITH locks AS MATERIALIZED (
    SELECT k.mode,
           k.granted,
           -- The locked object: all holders and waiters of one object share its entry. Predicate locks have a table of their own.
           CASE WHEN NOT k.fastpath AND k.mode <> 'SIReadLock'
                THEN hashtextextended(concat_ws('/', k.locktype, coalesce(k.database, 0), coalesce(k.relation, 0), k.page, k.tuple,
                                                k.virtualxid, k.transactionid, k.classid, k.objid, k.objsubid), 0) END AS entry
    FROM pg_locks k
    WHERE k.pid IS DISTINCT FROM pg_backend_pid()
)
SELECT l.mode,
       count(*) FILTER (WHERE l.granted)::float8 AS held,
       NULL::float8 AS used_ratio
FROM locks l
GROUP BY l.mode
UNION ALL
SELECT NULL,
       NULL,
       count(DISTINCT l.entry)
       / (current_setting('max_locks_per_transaction')::float8
          * (current_setting('max_connections')::float8
             + current_setting('max_prepared_transactions')::float8
             + current_setting('max_wal_senders')::float8
             + current_setting('max_worker_processes')::float8
             + coalesce(current_setting('autovacuum_worker_slots', true), current_setting('autovacuum_max_workers'))::float8
             + 1))
FROM locks l
