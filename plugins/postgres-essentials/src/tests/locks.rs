//! Who waits for whom.

use expect_test::expect;

use super::{check, check_words};

const LOCKS: &str = "
    locks present
    pharos_postgres_lock_wait_age_max_seconds 32
    pharos_postgres_lock_waiters 3
    pharos_postgres_lock_tree_depth_max 2
";

#[test]
fn a_long_wait_for_a_lock_names_who_blocks() {
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
    check_words(
        "lock-wait",
        &facts,
        expect![[r#"
        session has waited 32 s for a lock
        The longest wait for a lock has lasted 32 s. 3 sessions wait in all. Process 100 blocks 2 sessions, for AccessExclusiveLock on public.orders.
        - process 100: blocks 2 sessions, longest 32 s, for AccessExclusiveLock on public.orders
        - process 200: blocks 1 session, longest 1.5 s, for ShareLock
    "#]],
    );
    check_words(
        "lock-pile-up",
        &facts,
        expect![[r#"
            3 sessions wait for locks
            3 sessions wait for locks held or queued for by others. The longest chain is 2 deep. Process 100 blocks 2 sessions, for AccessExclusiveLock on public.orders.
            - process 100: blocks 2 sessions, longest 32 s, for AccessExclusiveLock on public.orders
            - process 200: blocks 1 session, longest 1.5 s, for ShareLock
        "#]],
    );
}

#[test]
fn a_long_wait_is_told_without_the_table_as_well() {
    check_words(
        "lock-wait",
        LOCKS,
        expect![[r#"
        session has waited 32 s for a lock
        The longest wait for a lock has lasted 32 s. 3 sessions wait in all.
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
