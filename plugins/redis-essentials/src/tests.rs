//! Each check with facts that raise it, and the tables against the files that describe them.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use pharos_plugin::testing::checks::words;
use pharos_plugin::testing::{Facts, render};

use super::*;

fn judge(facts: &str) -> Report {
    let plugin = RedisEssentials::new(Settings::default()).expect("defaults are in order");
    plugin.evaluate(&Facts::redis(facts).snapshot()).expect("judging cannot fail")
}

/// What is found; skips are the suite's business and tested there.
#[track_caller]
fn check(facts: &str, expected: Expect) {
    let findings = judge(facts).findings;
    expected.assert_eq(&render(&Report { findings, skipped: Vec::new() }));
}

/// The whole of the first finding, as a person reads it.
#[track_caller]
fn check_words(facts: &str, expected: Expect) {
    expected.assert_eq(&words(&judge(facts).findings[0]));
}

#[test]
fn a_server_that_does_not_answer_is_down_and_the_rest_is_skipped() {
    let facts = "up present\npharos_redis_up 0\ninfo failed connection refused\npharos_redis_clients_used_ratio";
    check(
        facts,
        expect![[r#"
        server-down: raise critical: server does not answer
    "#]],
    );
    check_words(
        facts,
        expect![[r#"
            server does not answer
            The last collection could not reach the server: connection refused.
            > The process is gone or was killed for its memory, a slow command or a fork holds it up, or Pharos can no longer log in.
            > On the host: `redis-cli ping`, then `systemctl status redis` and `journalctl -k | grep -i oom`. If it answers but late, `redis-cli slowlog get 10`. If only Pharos is refused, `ACL LIST`.
        "#]],
    );
    let report = judge(facts);
    let checks: usize = Family::all(&FAMILIES).count();
    assert_eq!(report.findings.len() + report.skipped.len(), checks, "no check is silent");
}

#[test]
fn clients_are_graded_by_the_share_connected() {
    let facts = "
        info present
        pharos_redis_clients_used_ratio 0.85
        pharos_redis_clients 8500
        pharos_redis_clients_max 10000
        pharos_redis_clients_blocked 12
    ";
    check(
        facts,
        expect![[r#"
        clients-used: raise warning: 85 % of clients are connected
    "#]],
    );
    check_words(
        facts,
        expect![[r#"
            85 % of clients are connected
            Clients hold 85 % of 10 k connections. At maxclients every new one is turned away.
            > Pools that together are larger than maxclients, or connections that are opened and never closed.
            > See who holds them: `redis-cli client list | awk '{print $2}' | cut -d: -f1 | sort | uniq -c`. Make the pools smaller, close what is forgotten (`CONFIG SET timeout 300`), or `CONFIG SET maxclients 20000` with a file limit to match.
            - clients: 8500
            - blocked in a command: 12
        "#]],
    );
}

#[test]
fn one_rejected_connection_is_a_warning() {
    check(
        "info present\npharos_redis_connections_rejected_total 7 rate 0.1",
        expect![[r#"
            rejected-connections: raise warning: 1 connection turned away
        "#]],
    );
    check(
        "info present\npharos_redis_connections_rejected_total 7 rate 20",
        expect![[r#"
        rejected-connections: raise critical: 200 connections turned away
    "#]],
    );
    check("info present\npharos_redis_connections_rejected_total 7 rate 0", expect![""]);
}

#[test]
fn memory_is_graded_by_the_share_of_its_limit() {
    let facts = "
        info present
        pharos_redis_memory_used_ratio 0.96
        pharos_redis_memory_used_bytes 1030792151
        pharos_redis_memory_max_bytes 1073741824
    ";
    check(
        facts,
        expect![[r#"
        memory-used: raise critical: 96 % of maxmemory is used
    "#]],
    );
    check_words(
        facts,
        expect![[r#"
            96 % of maxmemory is used
            The data takes 96 % of maxmemory. At the limit keys are evicted, or writes fail under `noeviction`.
            > Keys without an expiry that only grow in number, values larger than planned, or a limit that the data has outgrown.
            > Look for what is large: `redis-cli --bigkeys` and `redis-cli --memkeys`. Give keys an expiry, choose what may go (`CONFIG SET maxmemory-policy allkeys-lru`), or raise the limit as far as the host's memory goes: `CONFIG SET maxmemory 1610612736`.
            - used: 983 MiB
            - limit: 1 GiB
        "#]],
    );
    check("info present\npharos_redis_memory_used_ratio", expect![""]);
}

#[test]
fn fragmentation_counts_only_in_a_large_server() {
    let facts = |bytes| format!("info present\npharos_redis_memory_fragmentation_ratio 2\npharos_redis_memory_used_bytes {bytes}");
    check(&facts(90_000_000), expect![""]);
    check(
        &facts(900_000_000),
        expect![[r#"
        memory-fragmented: raise warning: memory is fragmented 2 to 1
    "#]],
    );
}

#[test]
fn evictions_are_graded_by_keys_a_second() {
    check("info present\npharos_redis_keys_evicted_total 7 rate 2", expect![""]);
    check(
        "info present\npharos_redis_keys_evicted_total 7 rate 25000",
        expect![[r#"
        evictions: raise critical: 25 k keys evicted a second
    "#]],
    );
}

#[test]
fn files_that_cannot_be_written_are_critical() {
    check(
        "
        info present
        pharos_redis_rdb_last_save_ok 0
        pharos_redis_aof_last_write_ok 0
        pharos_redis_rdb_save_age_seconds 700
        ",
        expect![[r#"
            rdb-save-failed: raise critical: last background save failed
            rdb-save-slow: raise warning: background save has run for 11 min 40 s
            aof-write-failed: raise critical: append-only file cannot be written
        "#]],
    );
    check("info present\npharos_redis_rdb_last_save_ok 1\npharos_redis_aof_last_write_ok", expect![""]);
}

#[test]
fn both_ends_of_replication_are_watched() {
    check(
        "info present\npharos_redis_replica_link_up 0",
        expect![[r#"
        replica-link-down: raise warning: replica has lost its master
    "#]],
    );
    check(
        r#"
        info present
        pharos_redis_replica_lag_bytes{replica="10.0.0.2:6379"} 20971520
        pharos_redis_replica_lag_bytes{replica="10.0.0.3:6379"} 0
        "#,
        expect![[r#"
            replication-lag{replica=10.0.0.2:6379}: raise warning: replica 10.0.0.2:6379 is 20 MiB behind
        "#]],
    );
}

#[test]
fn every_check_is_in_the_schema_and_the_readme_and_reads_metrics_that_exist() {
    let schema: serde_json::Value = serde_json::from_str(RedisEssentials::DESCRIPTION.settings_schema).expect("the schema is JSON");
    let described = schema["properties"]["checks"]["properties"].as_object().expect("checks are properties");
    let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
    let checks: Vec<_> = Family::all(&FAMILIES).collect();
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
