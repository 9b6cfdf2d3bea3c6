//! Each check with facts that raise it, and the tables against the files that describe them.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use pharos_plugin::settings;
use pharos_plugin::testing::{Facts, render};

use super::*;

/// Everything one check says about these facts; the others are turned off.
fn judge(check: &str, facts: &str) -> Report {
    let others = FAMILIES.iter().copied().flatten().filter(|other| other.id != check);
    let off: Vec<_> = others.map(|other| format!(r#""{}":{{"enabled":false}}"#, other.id)).collect();
    let settings = settings::parse(&format!(r#"{{"checks":{{{}}}}}"#, off.join(","))).expect("well-formed");
    let plugin = PostgresEssentials::new(settings).expect("every id exists");
    plugin.evaluate(&Facts::postgres(facts).snapshot()).expect("judging cannot fail")
}

#[track_caller]
fn check(check: &str, facts: &str, expected: Expect) {
    expected.assert_eq(&render(&judge(check, facts)));
}

/// The whole of the first finding, as a person reads it.
#[track_caller]
fn check_words(check: &str, facts: &str, expected: Expect) {
    let report = judge(check, facts);
    let finding = &report.findings[0];
    let mut words = format!("{}\n{}\n", finding.title, finding.detail);
    for line in &finding.evidence {
        words += &format!("- {}: {}\n", line.name, line.value);
    }
    expected.assert_eq(&words);
}

#[test]
fn a_server_that_does_not_answer_is_down_and_the_rest_is_skipped() {
    let facts = "up present\npharos_postgres_up 0\nactivity failed connection refused\npharos_postgres_connections_used_ratio";
    check(
        "server-down",
        facts,
        expect![[r#"
        server-down: raise critical: server does not answer
    "#]],
    );
    check_words(
        "server-down",
        facts,
        expect![[r#"
        server does not answer
        The last collection could not reach the server: connection refused.
    "#]],
    );
    check(
        "connections-used",
        facts,
        expect![[r#"
        connections-used: skipped: part `activity` failed: connection refused
    "#]],
    );
    check("server-down", "up present\npharos_postgres_up 1", expect![""]);
}

#[test]
fn a_server_may_refuse_new_sessions_only() {
    check(
        "not-accepting-connections",
        "accept present\npharos_postgres_accepting_connections 0",
        expect![[r#"
        not-accepting-connections: raise critical: new sessions are refused
    "#]],
    );
    check_words(
        "not-accepting-connections",
        "accept present
        pharos_postgres_accepting_connections 0
        table refusal
        | reason text | why text |
        | too-many-connections | sorry, too many clients already |",
        expect![[r#"
        new sessions are refused
        The probe could not open a new session, while the monitoring session opened earlier still works: sorry, too many clients already.
    "#]],
    );
}

#[test]
fn connections_are_graded_by_the_share_in_use() {
    let facts = r#"
        activity present
        pharos_postgres_connections_used_ratio 0.92
        pharos_postgres_connections_max 97
        pharos_postgres_connections{datname="app",state="idle"} 80
        pharos_postgres_connections{datname="app",state="active"} 9
    "#;
    check(
        "connections-used",
        facts,
        expect![[r#"
        connections-used: raise critical: 92 % of connections are used
    "#]],
    );
    check_words(
        "connections-used",
        facts,
        expect![[r#"
        92 % of connections are used
        Client backends hold 92 % of 97 connections open to ordinary roles. When none is left, every new session fails.
        - app, idle: 80
        - app, active: 9
    "#]],
    );
    check(
        "connections-used",
        "activity present\npharos_postgres_connections_used_ratio 0.75",
        expect![[r#"
        connections-used: hold warning: 75 % of connections are used
    "#]],
    );
}

#[test]
fn open_transactions_are_graded_by_age() {
    let facts = "activity present
        pharos_postgres_idle_in_transaction_age_max_seconds 400
        pharos_postgres_transaction_age_max_seconds 14400
        pharos_postgres_xmin_age_max_transactions 20000000";
    check(
        "idle-in-transaction",
        facts,
        expect![[r#"
        idle-in-transaction: raise warning: session idle in transaction for 6 min 40 s
    "#]],
    );
    check(
        "long-transaction",
        facts,
        expect![[r#"
        long-transaction: raise critical: transaction open for 4 h
    "#]],
    );
    check(
        "vacuum-held-back",
        facts,
        expect![[r#"
        vacuum-held-back: raise warning: a snapshot 20 M transactions old holds vacuum back
    "#]],
    );
}

#[test]
fn abandoned_sessions_are_counted_per_minute() {
    let facts = r#"
        database present
        pharos_postgres_sessions_abandoned_total{datname="app"} 900 rate 1.5
        pharos_postgres_sessions_abandoned_total{datname="shop"} 10 rate 0.01
    "#;
    check(
        "sessions-abandoned",
        facts,
        expect![[r#"
        sessions-abandoned{datname=app}: raise warning: 90 sessions a minute abandoned in app
    "#]],
    );
}

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
    check_words(
        "slot-inactive",
        facts,
        expect![[r#"
        slot s1 has no consumer
        Nobody consumes replication slot s1, which keeps 5 GiB of WAL on disk, more with every write until the disk is full.
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
fn both_id_counters_are_watched_for_wraparound() {
    let facts = r#"
        database present
        pharos_postgres_xid_age_transactions{datname="app"} 1200000000
        pharos_postgres_xid_age_transactions{datname="shop"} 190000000
        pharos_postgres_multixact_age_transactions{datname="app"} 600000000
    "#;
    check(
        "wraparound-risk",
        facts,
        expect![[r#"
        wraparound-risk{datname=app,counter=xid}: raise critical: oldest transaction id in app is 1.2 G old
        wraparound-risk{datname=app,counter=multixact}: raise warning: oldest multixact id in app is 600 M old
    "#]],
    );
    check_words(
        "wraparound-risk",
        facts,
        expect![[r#"
        oldest transaction id in app is 1.2 G old
        Database app has not frozen its oldest transaction id for 1.2 G transactions, 55.9 % of what there is. Shortly before the end PostgreSQL refuses all writes.
        - used of the id space: 55.9 %
    "#]],
    );
}

#[test]
fn a_low_hit_ratio_counts_only_with_traffic() {
    let facts = r#"
        database present
        pharos_postgres_blocks_hit_total{datname="app"} 9 rate 9000
        pharos_postgres_blocks_hit_total{datname="idle"} 9 rate 10
        pharos_postgres_blocks_read_total{datname="app"} 9 rate 1000
        pharos_postgres_blocks_read_total{datname="idle"} 9 rate 90
    "#;
    check(
        "cache-hit-low",
        facts,
        expect![[r#"
        cache-hit-low{datname=app}: raise warning: cache hit ratio of app is 90 %
    "#]],
    );
}

#[test]
fn a_checksum_failure_is_critical_from_the_first() {
    let facts = r#"
        database present
        pharos_postgres_checksum_failures_total{datname="app"} 1
        pharos_postgres_checksum_failures_total{datname="shop"} 0
    "#;
    check(
        "checksum-failure",
        facts,
        expect![[r#"
            checksum-failure{datname=app}: raise critical: data pages of app are corrupt
        "#]],
    );
}

#[test]
fn temporary_files_are_graded_by_bytes_a_second() {
    let facts = r#"
        database present
        pharos_postgres_temp_bytes_total{datname="app"} 9 rate 20971520
        statements present
        pharos_postgres_statement_temp_blocks_written_total{datname="app",user="web",fingerprint="1a2b"} 9 rate 2560
    "#;
    check(
        "temp-file-spill",
        facts,
        expect![[r#"
        temp-file-spill{datname=app}: raise warning: app spills 20 MiB/s to temporary files
    "#]],
    );
    check_words(
        "temp-file-spill",
        facts,
        expect![[r#"
        app spills 20 MiB/s to temporary files
        Sorts, hashes and the like in app do not fit into work_mem and write 20 MiB a second to disk.
        - app, web, 1a2b: 2560 blocks/s
    "#]],
    );
}

#[test]
fn only_statements_with_calls_enough_are_slow() {
    let facts = r#"
        statements present
        pharos_postgres_statement_mean_time_seconds{datname="app",user="web",fingerprint="1a2b",toplevel="true"} 0.75
        pharos_postgres_statement_mean_time_seconds{datname="app",user="web",fingerprint="rare",toplevel="true"} 9
        pharos_postgres_statement_mean_time_seconds{datname="app",user="web",fingerprint="nested",toplevel="false"} 9
        pharos_postgres_statement_mean_time_seconds{datname="app",user="web",fingerprint="other",toplevel="true"} 9
        pharos_postgres_statement_calls_total{datname="app",user="web",fingerprint="1a2b",toplevel="true"} 9 rate 5
        pharos_postgres_statement_calls_total{datname="app",user="web",fingerprint="rare",toplevel="true"} 9 rate 0.03
        pharos_postgres_statement_calls_total{datname="app",user="web",fingerprint="nested",toplevel="false"} 9 rate 5
        pharos_postgres_statement_calls_total{datname="app",user="web",fingerprint="other",toplevel="true"} 9 rate 5
        pharos_postgres_statement_time_p95_estimate_seconds{datname="app",user="web",fingerprint="1a2b",toplevel="true"} 2
    "#;
    check(
        "statement-slow",
        facts,
        expect![[r#"
        statement-slow{datname=app,user=web,fingerprint=1a2b,toplevel=true}: raise warning: statement 1a2b takes 750 ms on average
    "#]],
    );
    check_words(
        "statement-slow",
        facts,
        expect![[r#"
        statement 1a2b takes 750 ms on average
        Statement 1a2b, run by web in app, took 750 ms on average since the previous collection.
        - 95th percentile (estimated): 2 s
    "#]],
    );
}

#[test]
fn forgotten_statements_are_told() {
    let facts = "statements present
        pharos_postgres_statements_evictions_total 40 rate 0.2
        pharos_postgres_statements_tracked 4980
        pharos_postgres_statements_max 5000";
    check(
        "statement-evictions",
        facts,
        expect![[r#"
        statement-evictions: raise info: pg_stat_statements forgets statements
    "#]],
    );
    check_words(
        "statement-evictions",
        facts,
        expect![[r#"
        pg_stat_statements forgets statements
        It dropped its least used entries 2 times in the last 10 s, so rates and sums of statements are too low.
        - statements tracked: 4980
        - pg_stat_statements.max: 5000
    "#]],
    );
}

#[test]
fn every_check_is_in_the_schema_and_the_readme_and_reads_metrics_that_exist() {
    let schema: serde_json::Value = serde_json::from_str(PostgresEssentials::DESCRIPTION.settings_schema).expect("the schema is JSON");
    let described = schema["properties"]["checks"]["properties"].as_object().expect("checks are properties");
    let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
    let checks: Vec<_> = FAMILIES.iter().copied().flatten().collect();
    let ids: BTreeSet<_> = checks.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), checks.len(), "ids are unique");
    assert_eq!(described, ids);
    for check in checks {
        assert!(include_str!("../README.md").contains(&format!("`{}`", check.id)), "{} is in the readme", check.id);
        for metric in check.needs {
            assert!(include_str!("../../../config/metrics.toml").contains(&format!("[{metric}]")), "{metric} is in the catalogue");
        }
    }
}

#[test]
fn the_defaults_are_accepted() {
    let plugin = PostgresEssentials::new(Settings::default()).expect("defaults are in order");
    assert_eq!(plugin.rules().len(), FAMILIES.iter().map(|family| family.len()).sum::<usize>());
}
