//! Tests of each check with facts that raise it, and of the files that describe the checks.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use pharos_plugin::Severity;
use pharos_plugin::testing::checks::finding_text;
use pharos_plugin::testing::{Facts, render};

use super::*;

fn judge(facts: &str) -> Report {
    let plugin = RedisEssentials::new(Settings::default()).expect("defaults are in order");
    plugin.evaluate(&Facts::redis(facts).snapshot()).expect("judging cannot fail")
}

/// Compares the findings. Skips are left out, since the suite handles and tests them.
#[track_caller]
fn check(facts: &str, expected: Expect) {
    let findings = judge(facts).findings;
    expected.assert_eq(&render(&Report { findings, skipped: Vec::new() }));
}

/// Compares all texts of the first finding.
#[track_caller]
fn check_texts(facts: &str, expected: Expect) {
    expected.assert_eq(&finding_text(&judge(facts).findings[0]));
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
    check_texts(
        facts,
        expect![[r#"
            server does not answer
            The last collection could not reach the server: connection refused.
            > The process has stopped or was killed for its memory, a slow command or a fork blocks it, or the network is down.
            > On the host: `redis-cli -h cache1 -p 6379 ping`, then `systemctl status redis` and `journalctl -k | grep -i oom`. If it answers slowly, `redis-cli -h cache1 -p 6379 slowlog get 10`.
        "#]],
    );
    let report = judge(facts);
    let checks: usize = Family::all(&FAMILIES).count();
    assert_eq!(report.findings.len() + report.skipped.len(), checks, "no check is silent");
}

#[test]
fn a_restart_is_an_info_unless_lost_data_is_reported() {
    let facts = "
        info present
        pharos_redis_keys_before_restart 5000
        pharos_redis_keys_missing_ratio RATIO
        table restarts
        | kind text | at float | seconds_ago float |
        | restart | 1700000000 | 65 |
        | restart | 1700000060 | 5 |";
    check_texts(
        &facts.replace("RATIO", "0"),
        expect![[r#"
        server restarted
        The server started 5 s ago, at 2023-11-14 22:14:20 UTC. It was one of 2 starts in 15 minutes. All connections, blocked commands and subscriptions ended. This alert ends by itself 15 minutes after the start.
        > An operator, an update or the service manager restarted it; the kernel killed the process because memory ran out; or it crashed.
        > If the restart was planned, there is nothing to do. Else on the host: the end of the server's log before the start (`Received SIGTERM` is an order, `BUG REPORT START` a crash), `journalctl -u 'redis*'`, and `journalctl -k | grep -i oom` for a process that the kernel killed.
    "#]],
    );
    check(
        &facts.replace("RATIO", "1"),
        expect![[r#"
        data-lost: raise critical: all of the keys are gone since the restart
    "#]],
    );
}

#[test]
fn impossible_numbers_are_named_as_the_server_wrote_them() {
    let facts = "
        info present
        table numbers_left_out
        | field text | value text | count integer |
        | db0 keys | -5 | 2 |
        | used_memory | 1e308 | 2 |";
    check_texts(
        facts,
        expect![[r#"
        2 impossible numbers in INFO
        The server sent impossible numbers: below zero, infinite, or larger than on any server. They are left out, and what depends on them is not judged.
        > A fault of the server or of a proxy in front of it: a counter that fell below zero, or a fork of Redis in which the field has another meaning.
        > See them with `redis-cli -h cache1 -p 6379 INFO everything`. Update the server; a restart ends an underflow.
        - db0 keys: -5
        - used_memory: 1e308
    "#]],
    );
    check("info present\ntable numbers_left_out\n| field text | value text | count integer |", expect![""]);
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
    check_texts(
        facts,
        expect![[r#"
            85 % of clients are connected
            Clients hold 85 % of 10 k connections. At maxclients every new connection is refused.
            > Pools that together are larger than maxclients, or connections that are opened and never closed.
            > See which clients hold them: `redis-cli -h cache1 -p 6379 CLIENT LIST | grep -o ' addr=[^ ]*' | sed 's/:[0-9]*$//' | sort | uniq -c | sort -rn | head`. Make the pools smaller. Where `CONFIG GET timeout` says 0, forgotten connections stay open for ever: `CONFIG SET timeout 3600` closes those that were idle for an hour. Last of all `CONFIG SET maxclients 15000`; where the file limit of the process is lower, the server reports the highest possible value.
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
            rejected-connections: raise warning: 1 connection refused
        "#]],
    );
    check(
        "info present\npharos_redis_connections_rejected_total 7 rate 20",
        expect![[r#"
            rejected-connections: raise critical: 200 connections refused
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
    check_texts(
        facts,
        expect![[r#"
            96 % of maxmemory is used
            The data takes 96 % of maxmemory. At the limit keys are evicted, or writes fail under `noeviction`.
            > Keys without an expiry that only grow in number, values larger than planned, or a limit that the data has outgrown.
            > Raise `maxmemory` as far as the memory of the host goes. Find large keys: `redis-cli -h cache1 -p 6379 --bigkeys` and `redis-cli -h cache1 -p 6379 --memkeys`. Remove unneeded keys, and give keys an expiry.
            - used: 983 MiB
            - limit: 1 GiB
        "#]],
    );
    check("info present\npharos_redis_memory_used_ratio", expect![""]);
}

/// Facts about a full server of 1 GiB with this policy and this number of keys with an expiry.
fn full(policy: &str, expiring: u32) -> String {
    format!(
        "
        info present
        pharos_redis_memory_used_ratio 1
        pharos_redis_memory_used_bytes 1073741824
        pharos_redis_memory_max_bytes 1073741824
        pharos_redis_memory_host_bytes 8589934592
        pharos_redis_memory_policy{{policy=\"{policy}\"}} 1
        pharos_redis_keys{{db=\"db0\"}} 1000
        pharos_redis_keys_expiring{{db=\"db0\"}} {expiring}
        "
    )
}

#[test]
fn a_memory_that_is_full_is_no_trouble_where_keys_make_room_for_keys() {
    for (policy, expiring) in [("allkeys-lru", 0), ("allkeys-random", 5), ("volatile-lru", 500), ("volatile-ttl", 900)] {
        check(&full(policy, expiring), expect![""]);
    }
    for (policy, expiring) in [("noeviction", 0), ("noeviction", 900), ("volatile-lru", 0), ("volatile-ttl", 0), ("unknown", 9)] {
        let findings = judge(&full(policy, expiring)).findings;
        assert_eq!(findings.iter().map(|finding| finding.rule.as_str()).collect::<Vec<_>>(), ["memory-used"], "{policy} {expiring}");
    }
    let severity = |expiring| judge(&full("volatile-lru", expiring)).findings[0].severity;
    assert_eq!([0, 1, 99].map(severity), [Severity::Critical; 3], "what may go is as good as gone");
    assert_eq!([100, 499].map(severity), [Severity::Warning; 2], "writes go on, at the cost of a share that shrinks");
    check_texts(
        &full("volatile-lru", 1),
        expect![[r#"
        100 % of maxmemory is used
        The data takes 100 % of maxmemory. `volatile-lru` evicts keys that have an expiry, and only 0.1 % of all keys have one. Once these are gone, every write that needs memory fails.
        > Keys without an expiry that only grow in number, values larger than planned, or a limit that the data has outgrown.
        > Raise the limit, if the other programs of the host leave the memory for it: `CONFIG SET maxmemory 1610612736`. Find large keys: `redis-cli -h cache1 -p 6379 --bigkeys` and `redis-cli -h cache1 -p 6379 --memkeys`. Remove unneeded keys, and give keys an expiry. Only where every key is a copy that can be created again, let the server evict: `CONFIG SET maxmemory-policy allkeys-lru`.
        - used: 1 GiB
        - limit: 1 GiB
    "#]],
    );
    check_texts(
        &full("noeviction", 900),
        expect![[r#"
        100 % of maxmemory is used
        The data takes 100 % of maxmemory. Nothing is evicted (`noeviction`), so at the limit every write that needs memory fails.
        > Keys without an expiry that only grow in number, values larger than planned, or a limit that the data has outgrown.
        > Raise the limit, if the other programs of the host leave the memory for it: `CONFIG SET maxmemory 1610612736`. Find large keys: `redis-cli -h cache1 -p 6379 --bigkeys` and `redis-cli -h cache1 -p 6379 --memkeys`. Remove unneeded keys, and give keys an expiry. Only where every key is a copy that can be created again, let the server evict: `CONFIG SET maxmemory-policy allkeys-lru`.
        - used: 1 GiB
        - limit: 1 GiB
    "#]],
    );
    check_texts(
        &full("volatile-lru", 0),
        expect![[r#"
        100 % of maxmemory is used
        The data takes 100 % of maxmemory. `volatile-lru` evicts keys that have an expiry, and none has one, so at the limit every write that needs memory fails.
        > Keys without an expiry that only grow in number, values larger than planned, or a limit that the data has outgrown.
        > Raise the limit, if the other programs of the host leave the memory for it: `CONFIG SET maxmemory 1610612736`. Find large keys: `redis-cli -h cache1 -p 6379 --bigkeys` and `redis-cli -h cache1 -p 6379 --memkeys`. Remove unneeded keys, and give keys an expiry. Only where every key is a copy that can be created again, let the server evict: `CONFIG SET maxmemory-policy allkeys-lru`.
        - used: 1 GiB
        - limit: 1 GiB
    "#]],
    );
}

#[test]
fn no_fix_advises_what_is_set_or_more_memory_than_the_host_has() {
    for policy in ["noeviction", "allkeys-lru", "volatile-lru", "volatile-ttl", "unknown"] {
        for expiring in [0, 9] {
            let facts = full(policy, expiring) + "pharos_redis_keys_evicted_total 7 rate 25000";
            for finding in judge(&facts).findings {
                let fix = finding.fix.unwrap_or_default();
                assert!(!fix.contains(&format!("maxmemory-policy {policy}")), "{policy} {expiring}: {fix}");
                assert!(!fix.contains('<'), "{fix}");
            }
        }
    }
    let small = full("noeviction", 0).replace("8589934592", "2000000000");
    let fix = judge(&small).findings[0].fix.clone().unwrap_or_default();
    assert!(fix.starts_with("The host has 1.86 GiB of memory") && !fix.contains("CONFIG SET maxmemory 1"), "{fix}");
}

/// Compares the texts of the alert about a server that refuses a session for this reason.
#[track_caller]
fn check_unreachable(reason: &str, why: &str, expected: Expect) {
    let facts = format!(
        "up present\npharos_redis_up 0\ninfo failed {why}\npharos_redis_clients\ntable unreachable\n| reason text | why text |\n| {reason} | {why} |"
    );
    check_texts(&facts, expected);
}

#[test]
fn a_server_that_refuses_pharos_is_down_with_a_fix_for_the_reason() {
    check_unreachable(
        "authentication",
        "the server wants a password",
        expect![[r#"
        Pharos cannot log in to the server
        The last collection could not reach the server: the server wants a password.
        > The password of Pharos is missing, wrong or out of date, or its user is disabled.
        > Correct `password_file` or `password_env` of the [[redis]]: it is read again at each try. `ACL LIST` on the server shows which users are enabled, and `pharos doctor` tests it.
    "#]],
    );
    check_unreachable(
        "busy",
        "a script keeps the server from answering anybody",
        expect![[r#"
        server is kept busy by a script
        The last collection could not reach the server: a script keeps the server from answering anybody.
        > A script or function runs and blocks all other commands.
        > `redis-cli -h cache1 -p 6379 SCRIPT KILL` ends a script, `redis-cli -h cache1 -p 6379 FUNCTION KILL` a function. A script that has written data cannot be ended: wait until it ends. Then make it shorter.
    "#]],
    );
    check_unreachable(
        "tls",
        "the certificate expired",
        expect![[r#"
        no encrypted session with the server
        The last collection could not reach the server: the certificate expired.
        > The certificate of one side is not trusted by the other, has expired, or one of them does not encrypt.
        > The detail says which certificate, and what to make. `tls = { ca, cert, key }` of the [[redis]] names the files of Pharos, which are read again at each try.
    "#]],
    );
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

/// Facts about a restarted server that had 1,000 keys, `expiring` of them with an expiry. `missing` is the share of keys that it lost.
fn restarted(policy: &str, expiring: u32, missing: f64) -> String {
    format!(
        "
        info present
        pharos_redis_memory_policy{{policy=\"{policy}\"}} 1
        pharos_redis_keys{{db=\"db0\"}} 0
        pharos_redis_keys_expiring{{db=\"db0\"}} 0
        pharos_redis_keys_before_restart 1000
        pharos_redis_keys_expiring_before_restart {expiring}
        pharos_redis_keys_missing_ratio {missing}
        "
    )
}

#[test]
fn a_server_that_comes_back_without_its_keys_has_lost_data() {
    check_texts(
        &restarted("noeviction", 20, 1.0),
        expect![[r#"
            all of the keys are gone since the restart
            The server had 1000 keys before it restarted, and 0 at most since then. This alert ends when half of them are back, or a day after the restart.
            > The server saves nothing (`save ""` and `appendonly no`), it was started with another `dir` or `dbfilename`, its volume is empty or not mounted, or it was stopped by `SHUTDOWN NOSAVE` or killed before the first save.
            > Look for the files before the next save writes over them: `redis-cli -h cache1 -p 6379 CONFIG GET dir`, `redis-cli -h cache1 -p 6379 CONFIG GET dbfilename` and `redis-cli -h cache1 -p 6379 CONFIG GET appenddirname` say where the server looks. If they are elsewhere, or in a backup: `redis-cli -h cache1 -p 6379 SHUTDOWN NOSAVE`, which drops what was written since, put them there, and start the server. A replica that still has the data can take over instead. If the server saves nothing, `redis-cli -h cache1 -p 6379 CONFIG SET appendonly yes` and `redis-cli -h cache1 -p 6379 CONFIG REWRITE` preserve new data from now on.
            - keys before: 1000
            - with an expiry: 20
        "#]],
    );
    for (missing, expected) in [(0.95, "95 % of the keys are gone"), (0.9, "90 % of the keys are gone")] {
        assert!(judge(&restarted("noeviction", 0, missing)).findings[0].title.starts_with(expected));
    }
    // While the server loads its files, the agent reports the numbers from before.
    assert_eq!(judge(&format!("{}pharos_redis_loading 1", restarted("noeviction", 0, 1.0))).findings.len(), 1);
    check(&restarted("noeviction", 0, 0.5), expect![""]);
    check("info present\npharos_redis_keys{db=\"db0\"} 0", expect![""]);
}

#[test]
fn a_cache_that_comes_back_empty_is_a_warning() {
    let severity = |policy, expiring| judge(&restarted(policy, expiring, 1.0)).findings[0].severity;
    assert_eq!([("allkeys-lru", 0), ("volatile-lru", 900)].map(|(policy, expiring)| severity(policy, expiring)), [Severity::Warning; 2]);
    assert_eq!([("noeviction", 900), ("volatile-lru", 9)].map(|(policy, expiring)| severity(policy, expiring)), [Severity::Critical; 2]);
}

#[test]
fn a_replica_and_a_server_of_few_keys_have_lost_no_data() {
    let replica = restarted("noeviction", 0, 1.0) + "pharos_redis_replica_link_up 1";
    check(&replica, expect![""]);
    check(&restarted("noeviction", 0, 1.0).replace("before_restart 1000", "before_restart 99"), expect![""]);
}

#[test]
fn both_ends_of_replication_are_judged() {
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
        for metric in check.needs.iter().filter(|need| need.starts_with("pharos_")) {
            assert!(include_str!("../../../config/metrics.toml").contains(&format!("[{metric}]")), "{metric} is in the catalogue");
        }
    }
}
