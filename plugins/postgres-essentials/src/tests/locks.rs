//! Tests of the checks of locks.

use expect_test::expect;
use pharos_plugin::testing::Facts;

use super::{check, check_texts, judge};

const LOCKS: &str = "
    locks present
    pharos_postgres_lock_wait_age_max_seconds 32
    pharos_postgres_lock_waiters 3
    pharos_postgres_lock_tree_depth_max 2
";

#[test]
fn a_long_wait_for_a_lock_names_the_blocking_session() {
    let facts = format!(
        "{LOCKS}
        table lock_waits
        | pid integer | blocked_by integer | root_pid integer | wait_seconds float | mode text | relation text |
        | 101 | 100 | 100 | 32 | AccessExclusiveLock | public.orders |
        | 102 | 101 | 100 | 12.5 | AccessShareLock | public.orders |
        | 102 | 100 | 100 | 12.5 | AccessShareLock | public.orders |
        | 201 | 200 | 200 | 1.5 | ShareLock | - |"
    );
    check(
        "lock-wait",
        &facts,
        expect![[r#"
        lock-wait: raise warning: session has waited 32 s for a lock
    "#]],
    );
    check_texts(
        "lock-wait",
        &facts,
        expect![[r#"
            session has waited 32 s for a lock
            The longest wait for a lock has lasted 32 s. 3 sessions wait in all. Process 100 blocks 2 sessions, for AccessExclusiveLock on public.orders.
            > A transaction that holds a lock longer than others can wait: a schema change behind a long query, an update left uncommitted, or a batch that locks many rows.
            > See what it does: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT state, query FROM pg_stat_activity WHERE pid = 100; COMMIT;`, then cancel what it runs with `SELECT pg_catalog.pg_cancel_backend(<pid>);`, or end it with `SELECT pg_catalog.pg_terminate_backend(<pid>);` if it is idle in transaction, since a cancel has no effect there. Give schema changes `SET lock_timeout = '2s';` so that they give up instead of blocking everyone.
            - process 100: blocks 2 sessions, longest 32 s, for AccessExclusiveLock on public.orders
            - process 200: blocks 1 session, longest 1.5 s, for ShareLock
        "#]],
    );
    check_texts(
        "lock-pile-up",
        &facts,
        expect![[r#"
            3 sessions wait for locks
            3 sessions wait for locks that other sessions hold or wait for. The longest chain is 2 deep. Process 100 blocks 2 sessions, for AccessExclusiveLock on public.orders.
            > A session holds or waits for a lock that many sessions need: most often a schema change (`ALTER TABLE`, `CREATE INDEX` without `CONCURRENTLY`) or one row that every transaction updates.
            > See what it does: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT state, query FROM pg_stat_activity WHERE pid = 100; COMMIT;`, then cancel what it runs with `SELECT pg_catalog.pg_cancel_backend(<pid>);`, or end it with `SELECT pg_catalog.pg_terminate_backend(<pid>);` if it is idle in transaction, since a cancel has no effect there. Give schema changes `SET lock_timeout = '2s';` so that they give up instead of blocking everyone.
            - process 100: blocks 2 sessions, longest 32 s, for AccessExclusiveLock on public.orders
            - process 200: blocks 1 session, longest 1.5 s, for ShareLock
        "#]],
    );
}

#[test]
fn a_long_wait_is_reported_without_the_table_as_well() {
    check_texts(
        "lock-wait",
        LOCKS,
        expect![[r#"
            session has waited 32 s for a lock
            The longest wait for a lock has lasted 32 s. 3 sessions wait in all.
            > A transaction that holds a lock longer than others can wait: a schema change behind a long query, an update left uncommitted, or a batch that locks many rows.
            > Find the blocking sessions: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, pg_blocking_pids(pid), wait_event, query FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0; COMMIT;`, then cancel what it runs with `SELECT pg_catalog.pg_cancel_backend(<pid>);`, or end it with `SELECT pg_catalog.pg_terminate_backend(<pid>);` if it is idle in transaction, since a cancel has no effect there. Give schema changes `SET lock_timeout = '2s';` so that they give up instead of blocking everyone.
        "#]],
    );
}

#[test]
fn deadlocks_are_counted_since_the_previous_tick() {
    let facts = r#"
        database present
        pharos_postgres_deadlocks_total{datname="app"} 7 rate 0.1
        pharos_postgres_deadlocks_total{datname="shop"} 7 rate 0.6
        pharos_postgres_deadlocks_total{datname="test"} 7 rate 0
    "#;
    check(
        "deadlocks",
        facts,
        expect![[r#"
        deadlocks{datname=app}: raise info: 1 deadlock in app
        deadlocks{datname=shop}: raise critical: 6 deadlocks in shop
    "#]],
    );
    check(
        "deadlocks",
        "database present\npharos_postgres_deadlocks_total{datname=\"app\"} 7",
        expect![[r#"
        deadlocks: skipped: no data
    "#]],
    );
}

#[test]
fn the_facts_about_the_root_decide_the_fix() {
    let facts = format!(
        "{LOCKS}
        table lock_waits
        | pid integer | root_pid integer | wait_seconds float | mode text | relation text | root_mode text | root_state text | root_application text | root_transaction_seconds float | remedy text | remedy_text text |
        | 101 | 100 | 32 | AccessExclusiveLock | public.orders | AccessShareLock | idle in transaction | psql | 320 | idle-in-transaction | session 100 is idle in transaction: SELECT pg_terminate_backend(100) |
        | 102 | 100 | 12 | AccessShareLock | public.orders | AccessShareLock | idle in transaction | psql | 320 | - | - |"
    );
    check_texts(
        "lock-wait",
        &facts,
        expect![[r#"
            session has waited 32 s for a lock
            The longest wait for a lock has lasted 32 s. 3 sessions wait in all. Process 100 (application psql, idle in transaction, holds AccessShareLock, transaction open for 5 min 20 s) blocks 2 sessions, for AccessExclusiveLock on public.orders.
            > A transaction that holds a lock longer than others can wait: a schema change behind a long query, an update left uncommitted, or a batch that locks many rows.
            > Session 100 is idle in transaction: SELECT pg_terminate_backend(100). Give schema changes `SET lock_timeout = '2s';` so that they give up instead of blocking everyone.
            - process 100: blocks 2 sessions, longest 32 s, for AccessExclusiveLock on public.orders
        "#]],
    );
}

#[test]
fn a_prepared_transaction_that_blocks_is_named_by_its_gid() {
    let facts = format!(
        "{LOCKS}
        table lock_waits
        | pid integer | root_pid integer | wait_seconds float | mode text | relation text | prepared text | remedy_text text |
        | 101 | - | 32 | ShareLock | - | tx1 | - |"
    );
    check_texts(
        "lock-wait",
        &facts,
        expect![[r#"
            session has waited 32 s for a lock
            The longest wait for a lock has lasted 32 s. 3 sessions wait in all. Prepared transaction tx1 blocks 1 session, for ShareLock.
            > A transaction that holds a lock longer than others can wait: a schema change behind a long query, an update left uncommitted, or a batch that locks many rows.
            > Find it: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT gid, prepared, owner, database FROM pg_prepared_xacts ORDER BY prepared; COMMIT;`, then end it from its database with `COMMIT PREPARED <gid>;` or `ROLLBACK PREPARED <gid>;`. Give schema changes `SET lock_timeout = '2s';` so that they give up instead of blocking everyone.
            - prepared transaction tx1: blocks 1 session, longest 32 s, for ShareLock
        "#]],
    );
}

#[test]
fn a_full_table_of_locks_names_what_is_held_most() {
    check_texts(
        "lock-table-filling",
        r#"
        locks present
        pharos_postgres_lock_table_used_ratio 0.83
        pharos_postgres_locks_held{mode="AccessShareLock"} 5000
        pharos_postgres_locks_held{mode="RowExclusiveLock"} 100
    "#,
        expect![[r#"
            83 % of the table of locks is used
            83 % of the table of locks is used. When it is full, statements of any session fail with `out of shared memory`.
            > Transactions that touch thousands of relations: a dump, a query over all partitions without a filter on their key, a schema change of many tables at once.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT pid, count(*) FROM pg_locks WHERE NOT fastpath GROUP BY pid ORDER BY 2 DESC LIMIT 5; COMMIT;` shows the sessions with most locks. A larger table needs a restart: `ALTER SYSTEM SET max_locks_per_transaction = <more>;`.
            - AccessShareLock: 5000
            - RowExclusiveLock: 100
        "#]],
    );
    check("lock-table-filling", "locks present\npharos_postgres_lock_table_used_ratio 0.4", expect![[""]]);
}

#[test]
fn a_forgotten_prepared_transaction_is_named_with_its_end() {
    let facts = |age: f64| {
        format!(
            "
            horizon present
            pharos_postgres_prepared_transaction_age_max_seconds {age}
            table horizon
            | holder text | name text | datname text | user text | age_transactions integer | seconds float |
            | backend | - | app | web | 9000 | 9000 |
            | prepared | o'brien | shop | app | 700 | {age} |"
        )
    };
    check_texts(
        "prepared-transaction-forgotten",
        &facts(4000.0),
        expect![[r#"
            prepared transaction waits for 1 h 6 min
            Prepared transaction o'brien has been prepared for 1 h 6 min. Until it is ended, even over restarts, it keeps its locks, and vacuum cannot remove rows that it may still see.
            > The transaction manager that prepared it no longer runs or has lost it.
            > Ask the transaction manager how it ended; if it has no record of it: in shop, `ROLLBACK PREPARED 'o''brien';`.
            - prepared transaction: o'brien by app in shop
            - primary: db1:5432
        "#]],
    );
    check(
        "prepared-transaction-forgotten",
        &facts(4000.0),
        expect![[r#"
        prepared-transaction-forgotten: raise critical: prepared transaction waits for 1 h 6 min
    "#]],
    );
    check("prepared-transaction-forgotten", &facts(20.0), expect![[""]]);
    // PostgreSQL accepts no longer gid. As the name of a line of evidence the host would cut it, so the gid stands in the value.
    let gid = "g".repeat(199);
    let report = judge("prepared-transaction-forgotten", &Facts::postgres(&facts(4000.0).replace("o'brien", &gid)));
    let evidence = &report.findings[0].evidence[0];
    assert_eq!((evidence.name.as_str(), &evidence.value), ("prepared transaction", &format!("{gid} by app in shop")));
}
