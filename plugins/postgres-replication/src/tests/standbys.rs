//! Standbys.

use expect_test::expect;

use super::{check, check_words};

const SENDER: &str = r#"
    replication present
    pharos_postgres_replication_lag_seconds{standby="db2",client="10.0.0.2"} 45
    pharos_postgres_replication_lag_bytes{standby="db2",client="10.0.0.2"} 2147483648
    pharos_postgres_standby_replay_lag_seconds
    pharos_postgres_standby_replay_lag_bytes
"#;

#[test]
fn a_sender_tells_which_standby_lags() {
    check(
        "replication-lag",
        SENDER,
        expect![[r#"
        replication-lag{standby=db2,client=10.0.0.2}: raise warning: standby db2 (10.0.0.2) is 45 s behind
    "#]],
    );
    check(
        "replication-lag-bytes",
        SENDER,
        expect![[r#"
        replication-lag-bytes{standby=db2,client=10.0.0.2}: raise critical: standby db2 (10.0.0.2) is 2 GiB behind
    "#]],
    );
    check_words(
        "replication-lag",
        SENDER,
        expect![[r#"
            standby db2 (10.0.0.2) is 45 s behind
            Changes of 45 s wait to be replayed by standby db2 (10.0.0.2). Reads from it are that old, and a failover to it loses as much or waits.
            > More writes than the network or the standby's disk takes, a replay paused by a long query on the standby, or a standby that was away.
            > On the sender: `SELECT application_name, state, sent_lsn, write_lsn, flush_lsn, replay_lsn FROM pg_stat_replication;` the first that lags is the bottleneck. If only replay lags: `SELECT pg_get_wal_replay_pause_state();` and queries older than max_standby_streaming_delay on the standby.
            - lag in time: 45 s
            - lag in WAL: 2 GiB
        "#]],
    );
}

#[test]
fn a_standby_tells_its_own_lag() {
    let facts = "
        replication present
        pharos_postgres_replication_lag_seconds
        pharos_postgres_standby_replay_lag_seconds 600
        pharos_postgres_standby_receiver_up 0
    ";
    check(
        "replication-lag",
        facts,
        expect![[r#"
        replication-lag: raise critical: this standby is 10 min behind
    "#]],
    );
    check(
        "standby-receiver-down",
        facts,
        expect![[r#"
        standby-receiver-down: raise warning: standby receives no WAL
    "#]],
    );
}

#[test]
fn a_standby_that_does_not_replay_is_told() {
    let facts = "
        replication present
        pharos_postgres_standby_replay_paused 1
        pharos_postgres_standby_replay_lag_seconds 900
        pharos_postgres_standby_replay_lag_bytes 1048576";
    check_words(
        "standby-replay-paused",
        facts,
        expect![[r#"
        replay is paused on this standby
        The standby receives changes and does not apply them: reads grow older, WAL fills its disk, and a failover to it has to replay all of it first.
        > Somebody paused it, or the primary has settings that are larger than the standby's, such as max_connections.
        > `SELECT pg_wal_replay_resume();`. If it pauses again, the log names the setting: raise it on the standby and restart it.
        - replay lag: 15 min
        - WAL not replayed: 1 MiB
    "#]],
    );
    check("standby-replay-paused", &facts.replace("paused 1", "paused 0"), expect![[""]]);
}

#[test]
fn a_standby_that_others_replicate_from_is_judged_as_sender() {
    let cascade = format!("server present\npharos_postgres_in_recovery 1\n{SENDER}");
    check(
        "replication-lag",
        &cascade,
        expect![[r#"
        replication-lag{standby=db2,client=10.0.0.2}: raise warning: standby db2 (10.0.0.2) is 45 s behind
    "#]],
    );
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
    check_words(
        "sync-standby-missing",
        &facts(1, "async", "potential"),
        expect![[r#"
        1 synchronous standby is missing
        1 synchronous standby is missing of those that synchronous_standby_names asks for. Every commit waits until it is back.
        > The standby is down or cut off, or its application_name is none of the names.
        > `SELECT application_name, state, sync_state FROM pg_stat_replication;`: bring the standby back. To let commits go on without it: `ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf();`.
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
    // Two under one name are two.
    check("sync-standby-missing", &facts(2, "sync", "sync"), expect![[""]]);
    check("sync-standby-missing", &facts(2, "quorum", "quorum"), expect![[""]]);
    check("sync-standby-missing", &facts(0, "async", "async"), expect![[""]]);
}

#[test]
fn conflicts_are_told_with_their_reason() {
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
    check_words(
        "standby-conflicts",
        facts,
        expect![[r#"
        replay cancelled 1 query in app (snapshot)
        Since the previous collection replay cancelled 1 query in app on this standby, for reason snapshot.
        > Rows that the query could still see were vacuumed on the primary.
        > Let the primary know of it: `ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();`; vacuum there then waits.
    "#]],
    );
}
