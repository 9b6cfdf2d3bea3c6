//! Tests of the checks of standbys.

use expect_test::expect;

use super::{check, check_texts};

#[test]
fn a_standby_that_receives_nothing_is_reported_unless_it_reads_an_archive() {
    let facts = |is_to_receive: &str| {
        format!(
            "replication present
            pharos_postgres_standby_receiver_up 0
            table receiver
            | status text | is_to_receive boolean |
            | - | {is_to_receive} |"
        )
    };
    let alert = || {
        expect![[r#"
        standby-receiver-down: raise warning: standby receives no WAL
    "#]]
    };
    check("standby-receiver-down", &facts("true"), alert());
    // The role may lack the right to read this fact.
    check("standby-receiver-down", &facts("-"), alert());
    check("standby-receiver-down", &facts("false"), expect![[""]]);
}

#[test]
fn a_primary_is_not_judged_as_a_standby_nor_the_other_way_round() {
    let facts = |in_recovery: u8| {
        format!(
            "server present
            pharos_postgres_in_recovery {in_recovery}
            replication present
            pharos_postgres_standby_receiver_up 0
            pharos_postgres_synchronous_standbys_wanted 1
            table standbys
            | standby text | sync_state text |"
        )
    };
    check("standby-receiver-down", &facts(0), expect![[""]]);
    check("sync-standby-missing", &facts(1), expect![[""]]);
    check(
        "sync-standby-missing",
        &facts(0),
        expect![[r#"
        sync-standby-missing: raise critical: 1 synchronous standby is missing
    "#]],
    );
}

#[test]
fn a_standby_that_does_not_replay_is_reported() {
    let facts = "
        replication present
        pharos_postgres_standby_replay_paused 1
        pharos_postgres_standby_replay_lag_seconds 900
        pharos_postgres_standby_replay_lag_bytes 1048576";
    check_texts(
        "standby-replay-paused",
        facts,
        expect![[r#"
            replay is paused on this standby
            The standby receives changes and does not apply them: reads grow older, WAL fills its disk, and a failover to it has to replay all of it first.
            > It was paused by hand, or the primary has settings that are larger than the standby's, such as max_connections.
            > `SELECT pg_catalog.pg_wal_replay_resume();`. If it pauses again, the log names the setting: raise it on the standby and restart it.
            - replay lag: 15 min
            - WAL not replayed: 1 MiB
        "#]],
    );
    check("standby-replay-paused", &facts.replace("paused 1", "paused 0"), expect![[""]]);
}

#[test]
fn synchronous_standbys_are_counted_where_commits_wait_for_them() {
    let facts = |wanted: u8, first: &str, second: &str| {
        format!(
            r#"
            replication present
            pharos_postgres_synchronous_standbys_wanted {wanted}
            table standbys
            | standby text | pid integer | state text | sync_state text |
            | db2 | 101 | streaming | {first} |
            | db2 | 102 | streaming | {second} |
            settings present
            table settings
            | setting text | value text |
            | synchronous_standby_names | db2 |
        "#
        )
    };
    check("sync-standby-missing", &facts(1, "sync", "potential"), expect![[""]]);
    check_texts(
        "sync-standby-missing",
        &facts(1, "async", "potential"),
        expect![[r#"
            1 synchronous standby is missing
            1 synchronous standby is missing of those that synchronous_standby_names asks for. Every commit waits until it is back.
            > The standby is down or cut off, or its application_name is none of the names.
            > `BEGIN; SET LOCAL search_path = pg_catalog; SELECT application_name, state, sync_state FROM pg_stat_replication; COMMIT;`: bring the standby back. To let commits go on without it: `ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_catalog.pg_reload_conf();`.
            - synchronous_standby_names: db2
            - standbys connected: 2
        "#]],
    );
    check(
        "sync-standby-missing",
        &facts(3, "quorum", "async"),
        expect![[r#"
        sync-standby-missing: raise critical: 2 synchronous standbys are missing
    "#]],
    );
    // Two standbys with the same name count as two.
    check("sync-standby-missing", &facts(2, "sync", "sync"), expect![[""]]);
    check("sync-standby-missing", &facts(2, "quorum", "quorum"), expect![[""]]);
    check("sync-standby-missing", &facts(0, "async", "async"), expect![[""]]);
}

#[test]
fn conflicts_are_reported_with_their_reason() {
    let facts = r#"
        replication present
        pharos_postgres_standby_conflicts_total{datname="app",reason="snapshot"} 7 rate 0.1
        pharos_postgres_standby_conflicts_total{datname="app",reason="lock"} 70 rate 1.5
        pharos_postgres_standby_conflicts_total{datname="shop",reason="lock"} 70 rate 0
    "#;
    check(
        "standby-conflicts",
        facts,
        expect![[r#"
        standby-conflicts{datname=app,reason=snapshot}: raise info: replay cancelled 1 query in app (snapshot)
        standby-conflicts{datname=app,reason=lock}: raise warning: replay cancelled 15 queries in app (lock)
    "#]],
    );
    check_texts(
        "standby-conflicts",
        facts,
        expect![[r#"
            replay cancelled 1 query in app (snapshot)
            Since the previous collection replay cancelled 1 query in app on this standby, for reason snapshot.
            > Rows that the query could still see were vacuumed on the primary.
            > Let the standby report its snapshots to the primary: `ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_catalog.pg_reload_conf();`; vacuum on the primary then waits.
        "#]],
    );
}
