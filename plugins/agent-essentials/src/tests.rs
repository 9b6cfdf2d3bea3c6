//! Tests of each check with facts that raise it, and of the files that describe the checks.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use pharos_plugin::testing::checks::finding_text;
use pharos_plugin::testing::{Facts, render};

use super::*;

fn judge(facts: &str) -> Report {
    let plugin = AgentEssentials::new(Settings::default()).expect("defaults are in order");
    plugin.evaluate(&Facts::new("agent", "db-watch-1", &[("agent", "db-watch-1")], facts).snapshot()).expect("judging cannot fail")
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

const RECEIVERS: &str = "
    agent present
    pharos_receiver_breaker_state{receiver=\"ops\",state=\"open\"} 1
    table receivers
    | name text | breaker text | waiting integer | dead integer | why text |
    | ops       | open         | 3               | 0            | connection refused (3 waiting) |
    | pager     | half-open    | 1               | 0            | - |
    | mail      | closed       | 2               | 0            | the receiver asks to try again (2 waiting) |
    | busy      | closed       | 5               | 0            | - |
    | refused   | closed       | 0               | 1            | HTTP 400 |
    | old       | gone         | 4               | 0            | HTTP 410 |
";

#[test]
fn a_receiver_is_failing_while_it_does_not_accept_a_waiting_notification() {
    check(
        RECEIVERS,
        expect![[r#"
            receiver-failing{receiver=ops}: raise critical: receiver ops is not reached
            receiver-failing{receiver=pager}: raise critical: receiver pager is not reached
            receiver-failing{receiver=mail}: raise critical: receiver mail is not reached
            receiver-gone{receiver=old}: raise critical: receiver old is gone for good
        "#]],
    );
    check_texts(
        RECEIVERS,
        expect![[r#"
            receiver ops is not reached
            3 notifications wait for `ops`. The last try: connection refused (3 waiting). They are stored, and sent once it answers.
            > The receiver or the network between is down, its address is wrong, or it does not accept our credentials.
            > Try its address from this machine (`curl -i URL`). If it moved, correct `settings` of [[receiver]] "ops"; if it refuses egress, the log names the grant that would allow it.
        "#]],
    );
}

#[test]
fn dead_letters_are_listed_by_reason() {
    let facts = r#"
        agent present
        pharos_notifications_dead_total{receiver="ops"} 3 rate 0.2
        pharos_notifications_dead_total{receiver="pager"} 3 rate 0
        pharos_notifications_dropped_total{receiver="ops",reason="rejected"} 3
        pharos_notifications_dropped_total{receiver="ops",reason="untold"} 2
        pharos_notifications_dropped_total{receiver="pager",reason="expired"} 3
    "#;
    check(
        facts,
        expect![[r#"
            dead-letters{receiver=ops}: raise warning: 2 notifications to ops given up
        "#]],
    );
    check_texts(
        facts,
        expect![[r#"
            2 notifications to ops given up
            2 notifications will never reach `ops` unless they are sent again by hand.
            > The receiver refuses the message itself (HTTP 400, 404, 413, 422), refused our credentials for an hour, or was unreachable for days.
            > The log has the receiver's answer. Correct `settings` of [[receiver]] "ops", or the receiver itself; notifications that were given up stay in the outbox.
            - rejected: 3
        "#]],
    );
}

#[test]
fn the_oldest_notification_is_graded_by_how_long_it_waits() {
    // The snapshot was taken at 1,700,000,000 s.
    let facts = r#"
        agent present
        pharos_notifications_oldest_timestamp_seconds{receiver="ops"} 1699999000
        pharos_notifications_oldest_timestamp_seconds{receiver="pager"} 1699990000
        pharos_notifications_oldest_timestamp_seconds{receiver="mail"} 1700000100
        pharos_notifications_pending{receiver="ops"} 7
    "#;
    check(
        facts,
        expect![[r#"
            notifications-late{receiver=ops}: raise warning: notification to ops has waited 16 min 40 s
            notifications-late{receiver=pager}: raise critical: notification to pager has waited 2 h 46 min
        "#]],
    );
    check_texts(
        facts,
        expect![[r#"
            notification to ops has waited 16 min 40 s
            The oldest notification to `ops` was made 16 min 40 s ago and has not been accepted.
            > The receiver is unreachable, asks for fewer requests (HTTP 429), or accepts fewer notifications than there are.
            > If it is unreachable, see `receiver-failing`. If it asks for fewer requests, send it less: narrow the routes to "ops", or raise its limit on the other side.
            - waiting: 7
        "#]],
    );
}

#[test]
fn a_damaged_store_is_reported_with_its_path_and_the_lost_state() {
    let facts = "
        agent present
        pharos_store_damaged_files 1
        table damaged_stores
        | name text | path text |
        | pharos.db.damaged-1 | /var/lib/pharos/pharos.db.damaged-1 |
    ";
    check(
        facts,
        expect![[r#"
            store-damaged{store=pharos.db.damaged-1}: raise warning: damaged state store was set aside
        "#]],
    );
    check_texts(
        facts,
        expect![[r#"
            damaged state store was set aside
            At a start the state store could not be read, so a new store was created; the damaged store is /var/lib/pharos/pharos.db.damaged-1. Open alerts began again, and are sent again; waiting notifications, acknowledgements, silences and the earlier history are lost.
            > A disk or file system that loses writes, another program that wrote to the file, or a copy made while the agent ran.
            > Look at the disk (`dmesg | grep -i error`, `smartctl -a DEVICE`). To read the rest of the old store: `sqlite3 /var/lib/pharos/pharos.db.damaged-1 .recover`. Then remove /var/lib/pharos/pharos.db.damaged-1 and, if they are there, /var/lib/pharos/pharos.db.damaged-1-wal and /var/lib/pharos/pharos.db.damaged-1-shm.
        "#]],
    );
    check("agent present\npharos_store_damaged_files 0\ntable damaged_stores\n| name text | path text |", expect![""]);
}

#[test]
fn a_store_that_loses_state_is_critical() {
    let facts = |degraded: u8| {
        format!(
            "agent present\npharos_store_degraded {degraded}\ntable parts\n| name text | state text | cause text |\n| http | ok | - |\n| store | degraded | disk is full |"
        )
    };
    check(&facts(0), expect![""]);
    check(
        &facts(1),
        expect![[r#"
            store-degraded: raise critical: state store cannot store everything
        "#]],
    );
    check_texts(
        &facts(1),
        expect![[r#"
            state store cannot store everything
            Alerts are still judged and sent. The store: disk is full.
            > The disk is full, read-only or failing.
            > See `df -h` and `df -i` of the folder `agent.data_dir`, and `dmesg`. Make room there: the agent recovers by itself.
        "#]],
    );
}

#[test]
fn plugins_that_do_not_serve_differ_from_refused_files() {
    let facts = "
        agent present
        pharos_plugin_state{plugin=\"a\",state=\"failed\"} 1
        table plugins
        | id text | state text  | stage text | error text | ignored_settings text |
        | a       | failed      | validate   | the file is not WebAssembly | - |
        | b       | quarantined | call       | trapped | - |
        | c       | serving     | describe   | its id is \"d\" | - |
        | d       | serving     | call       | trapped | - |
        | e       | loading     | -          | - | - |
        | f       | disabled    | -          | - | - |
        | g       | serving     | call       | trapped | settings.checks.x: no such check |
        | h       | failing     | call       | trapped in `evaluate` | - |
        | i       | failing     | validate   | the file is not WebAssembly | - |
    ";
    check(
        facts,
        expect![[r#"
            plugin-not-serving{plugin_id=a}: raise critical: plugin a is failed
            plugin-not-serving{plugin_id=b}: raise critical: plugin b is quarantined
            plugin-failing{plugin_id=h}: raise warning: plugin h fails again and again
            plugin-failing{plugin_id=i}: raise warning: plugin i fails again and again
            plugin-refused{plugin_id=c}: raise warning: new file of plugin c was refused
            plugin-refused{plugin_id=i}: raise warning: new file of plugin i was refused
            plugin-settings-ignored{plugin_id=g}: raise warning: plugin g ignores wrong settings
        "#]],
    );
    check_texts(
        facts,
        expect![[r#"
            plugin a is failed
            `a` does not serve: its rules are not judged and its alerts stand still, or nothing is delivered through it. Last error, at validate: the file is not WebAssembly.
            > Its file or its settings are wrong, or its calls trap, take too long or need too much memory.
            > `pharos plugin inspect FILE` shows what is wrong with the file, `pharos plugin test` runs it on a recorded snapshot. If it only needs more time or memory, raise [plugin.a.limits]; otherwise put a version that works into `plugins.dir`.
        "#]],
    );
}

#[test]
fn a_rule_that_never_matched_is_named_apart_from_the_one_that_finds_it() {
    check(
        r#"
        agent present
        pharos_rule_never_matched{plugin="threshold",rule="many-keys"} 1
        pharos_rule_never_matched{plugin="threshold",rule="few-keys"} 0
        "#,
        expect![[r#"
            rule-never-matches{plugin_id=threshold,rule_id=many-keys}: raise warning: rule many-keys of threshold has never matched anything
        "#]],
    );
}

const FAILING: &str = r#"
    agent present
    pharos_collect_up{server="db1:5432",collector="locks"} 0
    pharos_collect_failures_total{server="db1:5432",collector="locks",reason="timeout"} 12
    table failing_collectors
    | server text | kind text | is_reached boolean | collector text | reason text | why text | cure text |
"#;

#[test]
fn a_missing_right_is_reported_once_per_server_with_the_statement_that_grants_it() {
    let facts = format!(
        "{FAILING}
        | db1:5432 | postgres | true | activity | privilege | role `pharos` does not see other roles' statistics; run: GRANT pg_monitor TO \"pharos\" | GRANT pg_monitor TO \"pharos\" |
        | db1:5432 | postgres | true | locks | privilege | role `pharos` does not see other roles' statistics; run: GRANT pg_monitor TO \"pharos\" | GRANT pg_monitor TO \"pharos\" |
        | db1:5432 | postgres | true | wal | timeout | no answer within 4s | - |
        | db2:5432 | postgres | false | activity | privilege | role `pharos` does not see other roles' statistics; run: GRANT pg_monitor TO \"pharos\" | GRANT pg_monitor TO \"pharos\" |"
    );
    check(
        &facts,
        expect![[r#"
        collector-failing{server=db1:5432,collector=wal}: raise warning: wal of db1:5432 cannot be read
        rights-missing{server=db1:5432}: raise warning: the role of Pharos may not read all of db1:5432
    "#]],
    );
    let lost = "| db1:5432 | postgres | true | locks | privilege | role `pharos` does not see it; run: GRANT pg_monitor TO \"pharos\" | GRANT pg_monitor TO \"pharos\" |";
    check_texts(
        &format!("{FAILING}{lost}"),
        expect![[r#"
            the role of Pharos may not read all of db1:5432
            1 part is not read because a right is missing. Rules that need them are not judged, and their alerts stand still: no new alert does not mean that all is well. locks: role `pharos` does not see it; run: GRANT pg_monitor TO "pharos".
            > A right was taken from the role, or was never granted.
            > On the primary, as superuser: `GRANT pg_monitor TO "pharos";`. `pharos doctor --server db1:5432` prints all that is missing.
            - locks: role `pharos` does not see it; run: GRANT pg_monitor TO "pharos"
        "#]],
    );
}

#[test]
fn a_collector_fails_where_its_server_answers_even_if_it_is_the_only_one() {
    let facts = format!(
        "{FAILING}
        | db1:5432 | postgres | true | locks | timeout | querying locks: no answer within 4s | - |
        | db2:5432 | postgres | false | locks | unreachable | cannot reach the server | - |
        | db2:5432 | postgres | false | server | unreachable | cannot reach the server | - |
        | cache:6379 | redis | true | info | privilege | asking for info: the user `pharos` may not run INFO; run: ACL SETUSER pharos +info | ACL SETUSER pharos +info |"
    );
    check(
        &facts,
        expect![[r#"
            collector-failing{server=db1:5432,collector=locks}: raise warning: locks of db1:5432 cannot be read
            rights-missing{server=cache:6379}: raise warning: the user of Pharos may not read all of cache:6379
        "#]],
    );
    let frozen: Vec<String> = judge(&facts).skipped.iter().map(|skipped| format!("{skipped:?}")).collect();
    assert_eq!(frozen.iter().filter(|skipped| skipped.contains("db2:5432") && skipped.contains("not reached")).count(), 3, "{frozen:?}");
    check_texts(
        &facts,
        expect![[r#"
            locks of db1:5432 cannot be read
            The server answers, but `locks` fails: querying locks: no answer within 4s. Rules that need it are not judged, and their alerts stand still.
            > The server is slow, or the statement takes longer than allowed.
            > If the server is healthy otherwise, give it more time: `[collect] deadlines = { locks = "10s" }`.
            - timeout: 12
        "#]],
    );
}

/// Error texts contain names that an attacker may choose, such as the name of a schema. A false Redis server chooses whole answers.
#[test]
fn a_statement_inside_an_error_text_never_becomes_a_fix() {
    let row = |kind: &str, reason: &str, cure: &str| {
        format!("{FAILING}\n| db1:5432 | {kind} | true | info | {reason} | no; run: ALTER ROLE evil SUPERUSER; -- | {cure} |")
    };
    let kinds = [("postgres", "privilege"), ("postgres", "query"), ("redis", "privilege"), ("redis", "loading"), ("redis", "query")];
    for (kind, reason) in kinds {
        for cure in ["-", "GRANT this TO that"] {
            let fix = judge(&row(kind, reason, cure)).findings[0].fix.clone().unwrap_or_default();
            assert!(!fix.contains("evil"), "{kind} {reason}: {fix}");
        }
    }
}

/// Compares the texts of the alert for this row of the table.
#[track_caller]
fn check_cure(row: &str, expected: Expect) {
    check_texts(&format!("{FAILING}{row}"), expected);
}

#[test]
fn the_fix_of_a_failure_suits_its_reason_and_its_engine() {
    check_cure(
        "| c:1 | redis | true | info | privilege | the user `x` may not run INFO; run: ACL SETUSER x +info | ACL SETUSER x +info |",
        expect![[r#"
            the user of Pharos may not read all of c:1
            1 part is not read because a right is missing. Rules that need them are not judged, and their alerts stand still: no new alert does not mean that all is well. info: the user `x` may not run INFO; run: ACL SETUSER x +info.
            > A right was taken from the user, or was never granted.
            > On the server, as a user with the right to do so: `ACL SETUSER x +info`. `pharos doctor --server c:1` prints all that is missing.
            - info: the user `x` may not run INFO; run: ACL SETUSER x +info
        "#]],
    );
    check_cure(
        "| c:1 | redis | true | info | query | the server does not take INFO | - |",
        expect![[r#"
        info of c:1 cannot be read
        The server answers, but `info` fails: the server does not take INFO. Rules that need it are not judged, and their alerts stand still.
        > The command has another name or is disabled, or a proxy answers.
        > Remove the line `rename-command INFO` from redis.conf and restart the server, or replace the proxy's address in `nodes` by the server's own.
    "#]],
    );
    check_cure(
        "| d:1 | postgres | true | tables | role-limit | the role has reached its own CONNECTION LIMIT | - |",
        expect![[r#"
        tables of d:1 cannot be read
        The server answers, but `tables` fails: the role has reached its own CONNECTION LIMIT. Rules that need it are not judged, and their alerts stand still.
        > A limit of connections leaves no room for the second session that Pharos needs.
        > Raise the limit that the detail names, or end sessions that count towards it. `pharos doctor --server d:1` queries the server itself, and prints the reason and the fix.
    "#]],
    );
    check_cure(
        "| d:1 | postgres | true | wal | privilege | permission denied | - |",
        expect![[r#"
            the role of Pharos may not read all of d:1
            1 part is not read because a right is missing. Rules that need them are not judged, and their alerts stand still: no new alert does not mean that all is well. wal: permission denied.
            > A right was taken from the role, or was never granted.
            > On the primary, as superuser: grant what the evidence names. `pharos doctor --server d:1` prints all that is missing.
            - wal: permission denied
        "#]],
    );
}

#[test]
fn dropped_snapshots_are_an_alert_about_the_agent_and_slow_collectors_are_not() {
    let facts = r#"
        agent present
        pharos_collect_skipped_total{server="db1:5432",collector="snapshot"} 9 rate 0.4
        pharos_collect_skipped_total{server="db1:5432",collector="locks"} 9 rate 0.4
        pharos_plugin_failures_total{plugin="slow",reason="busy"} 8
    "#;
    check(
        facts,
        expect![[r#"
            agent-overloaded{server=db1:5432}: raise warning: 4 snapshots of db1:5432 not judged
        "#]],
    );
    check_texts(
        facts,
        expect![[r#"
            4 snapshots of db1:5432 not judged
            In the last 10 s 4 snapshots of db1:5432 were dropped, because those before were not judged yet.
            > Plugins that take long, more servers than this machine can watch at these intervals, or a disk that is slow to write.
            > See which plugin takes the time (`pharos_plugin_call_seconds_total`), give the machine more CPU, or lengthen [collect.interval].
            - calls of slow that waited too long: 8
        "#]],
    );
}

#[test]
fn a_password_that_cannot_be_read_is_the_agents_trouble() {
    let facts = r#"
        agent present
        pharos_own_limit_total{part="files"} 4 rate 0.2
    "#;
    check_texts(
        facts,
        expect![[r#"
        servers are not watched: a password or certificate cannot be read
        For 2 sessions since the previous collection the agent could not read or use a password, a certificate or a key of its own, so the servers were not queried. They are not reported as down, and their alerts stand still.
        > A file was moved, its permissions changed, it is on a disk that hangs, or a variable of the environment is not set.
        > The log names the server and the file. `pharos check --config ...`, run as the agent's user, reads all of them.
    "#]],
    );
}

#[test]
fn a_refusal_by_the_agents_own_system_is_an_alert_about_the_agent() {
    let facts = r#"
        agent present
        pharos_own_limit_total{part="collect"} 4 rate 0.2
        pharos_own_limit_total{part="http"} 4 rate 0
    "#;
    check(
        facts,
        expect![[r#"
            own-limit{part=collect}: raise warning: servers are not watched: no connections
        "#]],
    );
    check_texts(
        facts,
        expect![[r#"
            servers are not watched: no connections
            The agent's own operating system refused it 2 connections since the previous collection. The state of the servers that the agent wanted to query is unknown. They are not reported as down, and their alerts stand still.
            > The limit of open files is reached, or memory or local ports are used up.
            > The log says which. For open files raise the limit of the agent's process: `LimitNOFILE=` in its systemd unit, or `ulimit -n`.
        "#]],
    );
}

#[test]
fn a_clock_is_graded_by_how_far_it_was_set_either_way() {
    check("agent present\npharos_clock_step_seconds 0.02", expect![""]);
    check(
        "agent present\npharos_clock_step_seconds -30",
        expect![[r#"
            clock-stepped: raise warning: wall clock was set back by 30 s
        "#]],
    );
    check(
        "agent present\npharos_clock_step_seconds 7200",
        expect![[r#"
            clock-stepped: raise critical: wall clock was set ahead by 2 h
        "#]],
    );
}

#[test]
fn every_check_is_in_the_schema_and_the_readme_and_reads_metrics_that_exist() {
    let schema: serde_json::Value = serde_json::from_str(AgentEssentials::DESCRIPTION.settings_schema).expect("the schema is JSON");
    let described = schema["properties"]["checks"]["properties"].as_object().expect("checks are properties");
    let described: BTreeSet<_> = described.keys().map(String::as_str).collect();
    let checks: Vec<_> = Family::all(&FAMILIES).collect();
    let ids: BTreeSet<_> = checks.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), checks.len(), "ids are unique");
    assert_eq!(described, ids);
    for check in checks {
        assert!(include_str!("../README.md").contains(&format!("\n### {}\n", check.id)), "{} has a section in the readme", check.id);
        for metric in check.needs {
            assert!(include_str!("../../../config/metrics.toml").contains(&format!("[{metric}]")), "{metric} is in the catalogue");
        }
    }
}
