//! Tests of a suite: its findings with default settings and with changed settings.

use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::checks::{Grading, each_value, each_zero, label};
use crate::testing::{Facts, render};
use crate::{Severity, settings, text};

static CHECKS: &[Check] = &[
    Check {
        id: "server-down",
        summary: "the server does not answer",
        category: "availability",
        scope: Scope::Each,
        labels: &[],
        needs: &["pharos_redis_up"],
        hold_off: Duration::from_secs(5),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_zero(snapshot, "pharos_redis_up"),
        explain: |_| Explanation { title: "down".to_owned(), ..Explanation::default() },
    },
    CLIENTS_USED,
];

const CLIENTS_USED: Check = Check {
    id: "clients-used",
    summary: "few clients more can connect",
    category: "connections",
    scope: Scope::Each,
    labels: &["user"],
    needs: &["pharos_redis_clients_used_ratio"],
    hold_off: Duration::from_secs(60),
    keep_firing: Duration::ZERO,
    grading: Grading::rising(0.8, 0.9, 0.7),
    observe: |snapshot| each_value(snapshot, "pharos_redis_clients_used_ratio"),
    explain: |case| Explanation { title: text::percent(case.value), ..Explanation::default() },
};

fn suite(settings: &str) -> Result<Suite, Failure> {
    Suite::new(&[Family::new("redis", CHECKS)], &settings::parse(settings)?)
}

#[track_caller]
fn check(settings: &str, facts: &str, expected: Expect) {
    let suite = suite(settings).expect("the settings are right");
    expected.assert_eq(&render(&suite.evaluate(&Facts::redis(facts).snapshot())));
}

/// Checks that an invalid setting is left out and that no check disappears because of it.
#[track_caller]
fn check_ignored(settings: &str, expected: Expect) {
    let suite = suite(settings).expect("wrong settings are left out");
    assert_eq!(suite.rules().len(), CHECKS.len());
    let ignored: Vec<String> = suite.ignored().iter().map(|ignored| format!("{}: {}", ignored.place, ignored.why)).collect();
    expected.assert_eq(&ignored.join("\n"));
}

#[test]
fn facts_and_scales_are_both_found() {
    check(
        "{}",
        "up present\npharos_redis_up 0\ninfo present\npharos_redis_clients_used_ratio 0.85",
        expect![[r#"
            server-down: raise critical: down
            clients-used: raise warning: 85 %
        "#]],
    );
}

#[test]
fn an_unreadable_metric_is_skipped_with_the_name_of_its_part() {
    check(
        "{}",
        "up present\npharos_redis_up 0\ninfo failed connection refused\npharos_redis_clients_used_ratio",
        expect![[r#"
            server-down: raise critical: down
            clients-used: skipped: part `info` failed: connection refused
        "#]],
    );
    check(
        "{}",
        "up stale 45000\npharos_redis_up 1",
        expect![[r#"
            server-down: skipped: part `up` is stale: last read 45 s ago
            clients-used: skipped: no collector reads `pharos_redis_clients_used_ratio` for a subject of kind `redis`
        "#]],
    );
}

#[test]
fn a_value_that_is_no_number_is_skipped() {
    check(
        r#"{"checks":{"server-down":{"enabled":false}}}"#,
        "info present\npharos_redis_clients_used_ratio NaN",
        expect![[r#"
            clients-used: skipped: no data
        "#]],
    );
}

#[test]
fn rows_that_a_list_leaves_out_are_skipped_if_they_may_be_bad() {
    static LISTED: &[Check] = &[Check {
        id: "pressure",
        labels: &["datname", "relation"],
        needs: &[],
        observe: |_| {
            let left_out = |datname: &str, greatest| {
                let reason = SkipReason::PartFailed("30 more".to_owned());
                Observation::unknown_up_to(vec![label("datname", datname)], greatest, reason)
            };
            Ok(vec![left_out("fine", Some(0.5)), left_out("held", Some(0.75)), left_out("unbounded", None)])
        },
        ..CLIENTS_USED
    }];
    let judged = |overrides: &str| {
        let settings = format!(r#"{{"checks":{{"pressure":{{"overrides":[{overrides}]}}}}}}"#);
        let suite = Suite::new(&[Family::new("redis", LISTED)], &settings::parse(&settings).expect("well-formed")).expect("defaults");
        render(&suite.evaluate(&Facts::redis("up present").snapshot()))
    };
    let held = || {
        expect![[r#"
        pressure{datname=held}: skipped: 30 more
        pressure{datname=unbounded}: skipped: 30 more
    "#]]
    };
    held().assert_eq(&judged(""));
    held().assert_eq(&judged(r#"{"only":{"datname":["other"]},"warning":0.4}"#));
    // Any of the rows left out may be the one that the override names.
    expect![[r#"
        pressure{datname=fine}: skipped: 30 more
        pressure{datname=held}: skipped: 30 more
        pressure{datname=unbounded}: skipped: 30 more
    "#]]
    .assert_eq(&judged(r#"{"only":{"relation":["orders"]},"warning":0.4}"#));
}

#[test]
fn a_lower_bound_is_bad_or_skipped_and_never_fine() {
    static LISTED: &[Check] = &[Check {
        id: "pressure",
        labels: &["datname"],
        needs: &[],
        observe: |_| {
            let least = |datname: &str, least| {
                Observation::at_least(vec![label("datname", datname)], least, SkipReason::PartFailed("since the start".to_owned()))
            };
            Ok(vec![least("low", 0.0), least("near", 0.78), least("high", 0.85)])
        },
        ..CLIENTS_USED
    }];
    let suite = Suite::new(&[Family::new("redis", LISTED)], &settings::parse("{}").expect("well-formed")).expect("defaults");
    expect![[r#"
        pressure{datname=high}: raise warning: 85 %
        pressure{datname=low}: skipped: since the start
        pressure{datname=near}: skipped: since the start
    "#]]
    .assert_eq(&render(&suite.evaluate(&Facts::redis("up present").snapshot())));
}

#[test]
fn a_subject_of_another_kind_is_not_judged() {
    let report = suite("{}").expect("defaults").evaluate(&Facts::postgres("up present").snapshot());
    assert_eq!(report, Report::empty());
}

#[test]
fn a_moved_threshold_moves_clear_in_proportion() {
    let moved = r#"{"checks":{"clients-used":{"warning":0.4}}}"#;
    check(
        moved,
        "up present\npharos_redis_up 1\ninfo present\npharos_redis_clients_used_ratio 0.36",
        expect![[r#"
            clients-used: hold warning: 36 %
        "#]],
    );
    check(moved, "up present\npharos_redis_up 1\ninfo present\npharos_redis_clients_used_ratio 0.34", expect![""]);
}

const TWO_USERS: &str = "
    up present
    pharos_redis_up 1
    info present
    pharos_redis_clients_used_ratio{user=\"app\"} 0.85
    pharos_redis_clients_used_ratio{user=\"etl\"} 0.85";

#[test]
fn a_check_is_limited_to_some_series_or_subjects() {
    let one = || {
        expect![[r#"
            clients-used{user=app}: raise warning: 85 %
        "#]]
    };
    check(r#"{"checks":{"clients-used":{"only":{"user":["app"]}}}}"#, TWO_USERS, one());
    check(r#"{"checks":{"clients-used":{"except":{"user":["e*"]}}}}"#, TWO_USERS, one());
    check(r#"{"checks":{"clients-used":{"only":{"server":["other:6379"]}}}}"#, TWO_USERS, expect![""]);
    // A subject that is not selected is not reported as skipped either.
    check(
        r#"{"checks":{"clients-used":{"except":{"server":["cache1:*"]}}}}"#,
        "up present\npharos_redis_up 1\ninfo failed connection refused\npharos_redis_clients_used_ratio",
        expect![""],
    );
}

#[test]
fn an_invalid_setting_leaves_the_other_settings_of_its_check_in_force() {
    let one = || {
        expect![[r#"
            clients-used{user=app}: raise warning: 85 %
        "#]]
    };
    // Each invalid part is left out: a threshold, the other selection, an override. The valid selection stays in force.
    for wrong in [r#""warning":0.95"#, r#""only":{"usr":["app"]}"#, r#""overrides":[{"warning":0.95}]"#] {
        check(&format!(r#"{{"checks":{{"clients-used":{{"except":{{"user":["etl"]}},{wrong}}}}}}}"#), TWO_USERS, one());
    }
    // A valid override stays in force beside an invalid one.
    check(
        r#"{"checks":{"clients-used":{"overrides":[{"except":{"slot":["a"]},"warning":0.5},{"only":{"user":["etl"]},"warning":0.86}]}}}"#,
        TWO_USERS,
        expect![[r#"
            clients-used{user=app}: raise warning: 85 %
            clients-used{user=etl}: hold warning: 85 %
        "#]],
    );
}

#[test]
fn some_series_have_thresholds_of_their_own() {
    check(
        r#"{"checks":{"clients-used":{"overrides":[{"only":{"user":["etl"]},"warning":0.7,"critical":0.8}]}}}"#,
        TWO_USERS,
        expect![[r#"
            clients-used{user=app}: raise warning: 85 %
            clients-used{user=etl}: raise critical: 85 %
        "#]],
    );
}

#[test]
fn the_operator_sets_the_severity_of_a_fact() {
    check(
        r#"{"checks":{"server-down":{"severity":"warning"},"clients-used":{"enabled":false}}}"#,
        "up present\npharos_redis_up 0",
        expect![[r#"
            server-down: raise warning: down
        "#]],
    );
}

#[test]
fn the_operator_sets_the_delay_before_an_alert() {
    let rules = suite(r#"{"checks":{"clients-used":{"for":"10m"}}}"#).expect("right").rules();
    assert_eq!(rules.iter().map(|rule| rule.for_ms).collect::<Vec<_>>(), [5_000, 600_000]);
}

#[test]
fn mistakes_name_their_correction() {
    check_ignored(r#"{"checks":{"client-used":{}}}"#, expect!["settings.checks.client-used: no such check; did you mean `clients-used`?"]);
    check_ignored(r#"{"checks":{"disk":{}}}"#, expect!["settings.checks.disk: no such check; the checks are server-down, clients-used"]);
    check_ignored(
        r#"{"checks":{"clients-used":{"warnin":0.9}}}"#,
        expect![
            "settings.checks.clients-used.warnin: unknown field `warnin`, expected one of `enabled`, `info`, `warning`, `critical`, `clear`, `severity`, `for`, `keep_firing_for`, `only`, `except`, `overrides`; did you mean `warning`?"
        ],
    );
    check_ignored(
        r#"{"checks":{"clients-used":{"warning":0.95}}}"#,
        expect![
            "settings.checks.clients-used: `warning` (0.95) must be below `critical` (0.9); raise `critical` or move `warning` as well"
        ],
    );
    check_ignored(
        r#"{"checks":{"clients-used":{"only":{"usr":["app"]}}}}"#,
        expect!["settings.checks.clients-used.only: `usr` is no label of this check; did you mean `user`?"],
    );
    check_ignored(
        r#"{"checks":{"clients-used":{"overrides":[{"except":{"slot":["a"]},"warning":0.5}]}}}"#,
        expect!["settings.checks.clients-used.overrides[0].except: `slot` is no label of this check; it has database, server, user"],
    );
    check_ignored(
        r#"{"checks":{"clients-used":{"overrides":[{"warning":0.95}]}}}"#,
        expect![
            "settings.checks.clients-used.overrides[0]: `warning` (0.95) must be below `critical` (0.9); raise `critical` or move `warning` as well"
        ],
    );
    check_ignored(
        r#"{"checks":{"clients-used":{"severity":"info"}}}"#,
        expect![
            "settings.checks.clients-used: `severity` has no meaning here: the severity follows the value; set `info`, `warning` or `critical`"
        ],
    );
    check_ignored(
        r#"{"checks":{"server-down":{"critical":1}}}"#,
        expect!["settings.checks.server-down: `critical` has no meaning here: this check answers yes or no; set `severity`"],
    );
}

#[test]
fn an_invalid_setting_leaves_all_others_in_force() {
    let wrong =
        r#"{"rulez":1,"checks":{"clients-used":{"for":"10m","warning":"80%","critcal":1},"server-down":{"severity":"info"},"x":5}}"#;
    check_ignored(
        wrong,
        expect![[r#"
            settings.checks.clients-used.critcal: unknown field `critcal`, expected one of `enabled`, `info`, `warning`, `critical`, `clear`, `severity`, `for`, `keep_firing_for`, `only`, `except`, `overrides`; did you mean `critical`?
            settings.checks.clients-used.warning: invalid type: string "80%", expected f64
            settings.checks.x: must be a table
            settings.rulez: unknown key
            settings.checks.x: no such check; the checks are server-down, clients-used"#]],
    );
    let loaded = suite(wrong).expect("wrong settings are left out");
    assert_eq!(loaded.rules().iter().map(|rule| rule.for_ms).collect::<Vec<_>>(), [5_000, 600_000], "the valid settings are in force");
    let facts = Facts::redis("up present\npharos_redis_up 0\ninfo present\npharos_redis_clients_used_ratio 0.85");
    expect![[r#"
        server-down: raise info: down
        clients-used: raise warning: 85 %
    "#]]
    .assert_eq(&render(&loaded.evaluate(&facts.snapshot())));
    // A check that is turned off stays off, whatever its other settings.
    let off = r#"{"checks":{"clients-used":{"enabled":false,"warning":0.95}}}"#;
    assert_eq!(suite(off).expect("it is left out").rules().len(), 1);
    check_ignored(r#"{"checks":[]}"#, expect!["settings.checks: must be a table"]);
}
