//! Tests of the checks of replication slots.

use expect_test::expect;

use super::{check, check_texts};

#[test]
fn slots_are_watched_for_consumers_and_loss() {
    let facts = r#"
        replication present
        pharos_postgres_slot_active{slot="s1",slot_type="physical"} 0
        pharos_postgres_slot_active{slot="s2",slot_type="logical"} 1
        pharos_postgres_slot_retained_bytes{slot="s1",slot_type="physical"} 5368709120
        pharos_postgres_slot_safe_bytes{slot="s2",slot_type="logical"} 1048576
        pharos_postgres_slot_wal_lost{slot="s1",slot_type="physical"} 1
        pharos_postgres_slot_wal_lost{slot="s2",slot_type="logical"} 0.5
    "#;
    check_texts(
        "slot-inactive",
        facts,
        expect![[r#"
            slot s1 has no consumer
            Replication slot s1 has no consumer. It keeps 5 GiB of WAL on disk, and more with every write until the disk is full.
            > Its standby or subscriber is down, or was removed without its slot.
            > Start the consumer, or, if it is gone for good, `SELECT pg_catalog.pg_drop_replication_slot('s1');`. Limit the WAL that slots keep; a slot that keeps more at that moment becomes unusable: `ALTER SYSTEM SET max_slot_wal_keep_size = '<size>'; SELECT pg_catalog.pg_reload_conf();`.
            - WAL kept: 5 GiB
        "#]],
    );
    check(
        "slot-losing-wal",
        facts,
        expect![[r#"
        slot-losing-wal{slot=s1,slot_type=physical}: raise critical: slot s1 has lost WAL
        slot-losing-wal{slot=s2,slot_type=logical}: raise warning: slot s2 is about to lose WAL
    "#]],
    );
}

#[test]
fn an_invalid_slot_is_reported_once_with_its_reason() {
    let facts = |reason: &str| {
        format!(
            r#"
            replication present
            pharos_postgres_slot_wal_lost{{slot="s1",slot_type="logical"}} 1
            pharos_postgres_slot_invalidated{{slot="s1",slot_type="logical"}} 1
            pharos_postgres_slot_inactive_seconds{{slot="s1",slot_type="logical"}} 7200
            table slots
            | slot text | slot_type text | wal_status text | invalidation_reason text |
            | s1 | logical | lost | {reason} |
        "#
        )
    };
    check(
        "slot-losing-wal",
        &facts("wal_removed"),
        expect![[r#"
        slot-losing-wal{slot=s1,slot_type=logical}: raise critical: slot s1 has lost WAL
    "#]],
    );
    check("slot-invalidated", &facts("wal_removed"), expect![[""]]);
    check("slot-losing-wal", &facts("idle_timeout"), expect![[""]]);
    check_texts(
        "slot-invalidated",
        &facts("idle_timeout"),
        expect![[r#"
            slot s1 is invalidated
            Replication slot s1 can never be used again: idle_timeout. Its consumer must be rebuilt.
            > Its consumer was unreachable for longer than idle_replication_slot_timeout.
            > `SELECT pg_catalog.pg_drop_replication_slot('s1');`, then rebuild the consumer. For a consumer that connects rarely: `ALTER SYSTEM SET idle_replication_slot_timeout = '7d'; SELECT pg_catalog.pg_reload_conf();`.
            - inactive for at least: 2 h
        "#]],
    );
    check_texts(
        "slot-invalidated",
        &facts("rows_removed"),
        expect![[r#"
            slot s1 is invalidated
            Replication slot s1 can never be used again: rows_removed. Its consumer must be rebuilt.
            > Rows of the catalogue that its consumer needs were vacuumed: on a standby, hot_standby_feedback was off or its slot was gone.
            > `SELECT pg_catalog.pg_drop_replication_slot('s1');`, then rebuild the consumer. On the standby: `ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_catalog.pg_reload_conf();`.
            - inactive for at least: 2 h
        "#]],
    );
}

const FAR_BEHIND: &str = r#"
    replication present
    pharos_postgres_slot_active{slot="away",slot_type="physical"} 0
    pharos_postgres_slot_active{slot="slow",slot_type="logical"} 1
    pharos_postgres_slot_active{slot="good",slot_type="logical"} 1
    pharos_postgres_slot_retained_bytes{slot="away",slot_type="physical"} 21474836480
    pharos_postgres_slot_retained_bytes{slot="slow",slot_type="logical"} 64424509440
    pharos_postgres_slot_retained_bytes{slot="good",slot_type="logical"} 1048576
    pharos_postgres_slot_safe_bytes{slot="away",slot_type="physical"} 32212254720
    pharos_postgres_slot_safe_bytes{slot="slow",slot_type="logical"} 1073741824
    pharos_postgres_slot_safe_bytes{slot="good",slot_type="logical"} 4294967296
    pharos_postgres_slot_inactive_seconds{slot="away",slot_type="physical"} 7200
    wal present
    pharos_postgres_wal_bytes_total 5 rate 2000000
"#;

#[test]
fn a_slot_that_retains_much_wal_is_reported_with_the_state_of_its_consumer() {
    check(
        "slot-retains-much",
        FAR_BEHIND,
        expect![[r#"
        slot-retains-much{slot=away,slot_type=physical}: raise warning: slot away keeps 20 GiB of WAL
        slot-retains-much{slot=slow,slot_type=logical}: raise critical: slot slow keeps 60 GiB of WAL
    "#]],
    );
    check_texts(
        "slot-retains-much",
        FAR_BEHIND,
        expect![[r#"
            slot away keeps 20 GiB of WAL
            Replication slot away keeps 20 GiB of WAL on disk for its consumer. When the disk is full, the server stops.
            > Its consumer is not connected.
            > Start the consumer, or, if it is gone for good, `SELECT pg_catalog.pg_drop_replication_slot('away');`. Limit the WAL that slots keep; a slot that keeps more at that moment becomes unusable: `ALTER SYSTEM SET max_slot_wal_keep_size = '<size>'; SELECT pg_catalog.pg_reload_conf();`.
            - WAL kept: 20 GiB
            - WAL until loss: 30 GiB
            - inactive for at least: 2 h
        "#]],
    );
}

#[test]
fn the_loss_of_wal_is_predicted_for_a_slot_that_falls_behind() {
    check(
        "slot-soon-losing-wal",
        FAR_BEHIND,
        expect![[r#"
        slot-soon-losing-wal{slot=away,slot_type=physical}: raise warning: slot away loses WAL in 4 h 28 min
        slot-soon-losing-wal{slot=slow,slot_type=logical}: raise critical: slot slow loses WAL in 8 min 57 s
    "#]],
    );
    check_texts(
        "slot-soon-losing-wal",
        FAR_BEHIND,
        expect![[r#"
            slot away loses WAL in 4 h 28 min
            At the present rate of writing, replication slot away is past max_slot_wal_keep_size in 4 h 28 min. After that its consumer must be rebuilt.
            > Its consumer is not connected, or slower than the server writes.
            > Bring the consumer back, or give it time as far as the disk allows: `ALTER SYSTEM SET max_slot_wal_keep_size = <more>; SELECT pg_catalog.pg_reload_conf();`.
            - WAL kept: 20 GiB
            - WAL until loss: 30 GiB
            - inactive for at least: 2 h
        "#]],
    );
    check("slot-soon-losing-wal", &FAR_BEHIND.replace("rate 2000000", "rate 0"), expect![[""]]);
}

#[test]
fn a_slot_that_needs_no_consumer_or_retains_nothing_is_not_reported() {
    let facts = |row: &str| {
        format!(
            r#"
            replication present
            pharos_postgres_slot_active{{slot="s1",slot_type="logical"}} 0
            pharos_postgres_slot_retained_bytes{{slot="s1",slot_type="logical"}} 21474836480
            pharos_postgres_slot_safe_bytes{{slot="s1",slot_type="logical"}} 1073741824
            table slots
            | slot text | slot_type text | retained_bytes integer | synced boolean | invalidation_reason text |
            | s1 | logical | {row} |
            wal present
            pharos_postgres_wal_bytes_total 5 rate 2000000
        "#
        )
    };
    for id in ["slot-inactive", "slot-soon-losing-wal"] {
        check(id, &facts("21474836480 | true | -"), expect![[""]]);
        check(id, &facts("- | false | -"), expect![[""]]);
        check(id, &facts("21474836480 | false | rows_removed"), expect![[""]]);
    }
    check(
        "slot-inactive",
        &facts("21474836480 | false | -"),
        expect![[r#"
        slot-inactive{slot=s1,slot_type=logical}: raise warning: slot s1 has no consumer
    "#]],
    );
    check(
        "slot-soon-losing-wal",
        &facts("21474836480 | - | -"),
        expect![[r#"
        slot-soon-losing-wal{slot=s1,slot_type=logical}: raise critical: slot s1 loses WAL in 8 min 57 s
    "#]],
    );
}

#[test]
fn a_slot_that_a_function_advances_has_a_consumer_and_a_slot_without_wal_needs_none() {
    let facts = |moved: &str, retained: u64| {
        format!(
            r#"
            replication present
            pharos_postgres_slot_active{{slot="node3",slot_type="physical"}} 0
            pharos_postgres_slot_retained_bytes{{slot="node3",slot_type="physical"}} {retained}
            table slots
            | slot text | slot_type text | retained_bytes integer | seconds_since_move float |
            | node3 | physical | {retained} | {moved} |
        "#
        )
    };
    let alert = || {
        expect![[r#"
        slot-inactive{slot=node3,slot_type=physical}: raise warning: slot node3 has no consumer
    "#]]
    };
    check("slot-inactive", &facts("2", 4096), expect![[""]]);
    check("slot-inactive", &facts("-", 0), expect![[""]]);
    check("slot-inactive", &facts("-", 4096), alert());
    check("slot-inactive", &facts("86400", 4096), alert());
}
