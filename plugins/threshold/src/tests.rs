//! Tests of rules on snapshots, and of invalid settings.

use expect_test::{Expect, expect};
use pharos_plugin::testing::{Facts, render};
use pharos_plugin::{Failure, Plugin, settings};

use super::*;

fn plugin(settings: &str) -> Result<Threshold, Failure> {
    Threshold::new(settings::parse(settings)?)
}

fn with_rule(keys: &str) -> String {
    format!(r#"{{"rules":[{{"id":"r","severity":"warning",{keys}}}]}}"#)
}

#[track_caller]
fn check(rule: &str, facts: &str, expected: Expect) {
    let plugin = plugin(&with_rule(rule)).expect("the rule is right");
    let report = plugin.evaluate(&Facts::postgres(facts).snapshot()).expect("judging cannot fail");
    expected.assert_eq(&render(&report));
}

/// Checks that an invalid rule is left out with this reason.
#[track_caller]
fn check_ignored(settings: &str, expected: Expect) {
    let plugin = plugin(settings).expect("a wrong rule is left out");
    let ignored: Vec<String> = plugin.ignored().iter().map(|ignored| format!("{}: {}", ignored.place, ignored.why)).collect();
    expected.assert_eq(&ignored.join("\n"));
}

const USED: &str = r#""metric":"pharos_postgres_connections_used_ratio","above":0.8,"clear":0.7"#;

#[test]
fn a_value_past_the_threshold_is_raised() {
    check(
        USED,
        "activity present\npharos_postgres_connections_used_ratio 0.85",
        expect![[r#"
            r: raise warning: pharos_postgres_connections_used_ratio is 85 %, above 80 %
        "#]],
    );
}

#[test]
fn a_value_between_the_thresholds_is_held() {
    check(
        USED,
        "activity present\npharos_postgres_connections_used_ratio 0.8",
        expect![[r#"
            r: hold warning: pharos_postgres_connections_used_ratio is 80 %, above 80 %
        "#]],
    );
}

#[test]
fn a_value_back_at_clear_is_fine() {
    check(USED, "activity present\npharos_postgres_connections_used_ratio 0.7", expect![""]);
}

#[test]
fn below_is_the_mirror_of_above() {
    check(
        r#""metric":"pharos_postgres_slot_safe_bytes","below":1024,"clear":4096"#,
        r#"
        replication present
        pharos_postgres_slot_safe_bytes{slot="a"} 512
        pharos_postgres_slot_safe_bytes{slot="b"} 2048
        pharos_postgres_slot_safe_bytes{slot="c"} 4096
        "#,
        expect![[r#"
            r{slot=a}: raise warning: pharos_postgres_slot_safe_bytes is 512 B, below 1 KiB
            r{slot=b}: hold warning: pharos_postgres_slot_safe_bytes is 2 KiB, below 1 KiB
        "#]],
    );
}

#[test]
fn a_summary_can_use_the_labels_of_subject_and_series() {
    check(
        r#""metric":"pharos_postgres_connections","above":10,"summary":"{datname} on {server}: {value} > {raise} ({clear}) {unknown}""#,
        "activity present\npharos_postgres_connections{datname=\"app\",state=\"idle\"} 12",
        expect![[r#"
            r{datname=app,state=idle}: raise warning: app on db1:5432: 12 > 10 (10) {unknown}
        "#]],
    );
}

#[test]
fn only_matching_series_are_judged() {
    let facts = r#"
        activity present
        pharos_postgres_connections{datname="app",state="idle"} 12
        pharos_postgres_connections{datname="shop",state="idle"} 13
        pharos_postgres_connections{datname="test",state="idle"} 14
    "#;
    check(
        r#""metric":"pharos_postgres_connections","above":10,"match":{"datname":["app","shop"],"database":"app"},"summary":"{value}""#,
        facts,
        expect![[r#"
            r{datname=app,state=idle}: raise warning: 12
            r{datname=shop,state=idle}: raise warning: 13
        "#]],
    );
}

#[test]
fn a_rule_that_fits_no_series_is_skipped() {
    let facts = r#"
        activity present
        pharos_postgres_connections{datname="app",state="idle"} 12
        pharos_postgres_lock_waiters
    "#;
    let skipped =
        |rule: &str, expected| check(&format!(r#""metric":"pharos_postgres_connections","above":10,"match":{rule}"#), facts, expected);
    skipped(
        r#"{"database":"other"}"#,
        expect![[r#"
            r{database=other}: skipped: no data
        "#]],
    );
    skipped(
        r#"{"datname":["ap","shop"],"database":"app"}"#,
        expect![[r#"
            r{database=app,datname=ap|shop}: skipped: no data
        "#]],
    );
    check(
        r#""metric":"pharos_postgres_lock_waiters","above":10"#,
        facts,
        expect![[r#"
            r: skipped: no data
        "#]],
    );
}

#[test]
fn a_rate_is_judged_and_a_series_without_one_is_skipped() {
    let rule = r#""metric":"pharos_postgres_temp_bytes_total","reading":"rate","above":1024"#;
    check(
        rule,
        r#"
        database present
        pharos_postgres_temp_bytes_total{datname="app"} 9000 rate 2048
        pharos_postgres_temp_bytes_total{datname="new"} 9000
        "#,
        expect![[r#"
            r{datname=app}: raise warning: pharos_postgres_temp_bytes_total is 2 KiB/s, above 1 KiB/s
            r{datname=new}: skipped: no data
        "#]],
    );
    check(
        rule,
        "database present\npharos_postgres_temp_bytes_total{datname=\"app\"} 9000",
        expect![[r#"
            r: skipped: no data
        "#]],
    );
}

#[test]
fn a_value_of_nan_is_skipped() {
    check(
        USED,
        "activity present\npharos_postgres_connections_used_ratio NaN",
        expect![[r#"
            r: skipped: no data
        "#]],
    );
}

#[test]
fn a_metric_that_cannot_be_read_is_skipped() {
    check(
        USED,
        "activity failed permission denied\npharos_postgres_connections_used_ratio",
        expect![[r#"
            r: skipped: part `activity` failed: permission denied
        "#]],
    );
    check(
        USED,
        "activity present",
        expect![[r#"
            r: skipped: no collector reads `pharos_postgres_connections_used_ratio` for a subject of kind `postgres`
        "#]],
    );
}

#[test]
fn a_rule_is_silent_about_other_kinds_of_subjects() {
    check(r#""metric":"pharos_redis_clients","above":10"#, "activity present", expect![""]);
}

#[test]
fn rules_declare_what_they_need() {
    let settings = with_rule(&format!(r#"{USED},"for":"5m","keep_firing_for":"1h30m""#));
    let rules = plugin(&settings).expect("right").rules();
    expect![[r#"
        [
            Rule {
                id: "r",
                summary: "pharos_postgres_connections_used_ratio above 80 %",
                category: "thresholds",
                subject-kind: "postgres",
                needs: [
                    "pharos_postgres_connections_used_ratio",
                ],
                for-ms: 300000,
                keep-firing-ms: 5400000,
                runbook: None,
            },
        ]
    "#]]
    .assert_debug_eq(&rules);
}

#[test]
fn no_rules_are_fine() {
    assert!(plugin("{}").expect("defaults").rules().is_empty());
}

#[test]
fn an_invalid_rule_does_not_reserve_its_id() {
    let settings = r#"{"rules":[{"id":"r","metric":"m","severity":"info"},{"id":"r","metric":"m","above":2,"severity":"info"}]}"#;
    let plugin = plugin(settings).expect("the wrong one is left out");
    assert_eq!((plugin.rules().len(), plugin.ignored().len()), (1, 1));
}

#[test]
fn mistakes_name_rule_key_and_correction() {
    let twice = r#"{"rules":[{"id":"r","metric":"m","above":1,"severity":"info"},{"id":"r","metric":"m","above":2,"severity":"info"}]}"#;
    check_ignored(twice, expect!["settings.rules[1].id: rule `r`: `id`: another rule has this id; rename one of them"]);
    check_ignored(
        &with_rule(r#""metric":"m""#),
        expect!["settings.rules[0].above: rule `r`: `above`: a rule needs one threshold; give `above` or `below`"],
    );
    check_ignored(
        &with_rule(r#""metric":"m","above":1,"below":2"#),
        expect!["settings.rules[0].below: rule `r`: `below`: a rule has one threshold; drop `above` or `below`, or write two rules"],
    );
    check_ignored(
        &with_rule(r#""metric":"m","above":1,"clear":2"#),
        expect!["settings.rules[0].clear: rule `r`: `clear`: 2 is above the threshold; give at most 1"],
    );
    check_ignored(
        &with_rule(r#""metric":"m","below":1,"clear":0.5"#),
        expect!["settings.rules[0].clear: rule `r`: `clear`: 0.5 is below the threshold; give at least 1"],
    );
    check_ignored(
        &with_rule(r#""metric":"m","above":1,"summary":"{my value}""#),
        expect![
            "settings.rules[0].summary: rule `r`: `summary`: `{my value}` is no placeholder; use {value}, {raise}, {clear}, {metric} or a label's name"
        ],
    );
    check_ignored(
        &with_rule(r#""metric":"m","above":1,"for":"5 minutes""#),
        expect![[r#"settings.rules[0].for: `5 minutes` is no duration: write it like "500ms", "5m" or "1h30m""#]],
    );
    check_ignored(
        &with_rule(r#""metric":"m","abov":1"#),
        expect![
            "settings.rules[0]: unknown field `abov`, expected one of `id`, `metric`, `match`, `reading`, `above`, `below`, `clear`, `for`, `keep_firing_for`, `severity`, `summary`, `category`, `runbook`; did you mean `above`?"
        ],
    );
    check_ignored(
        &with_rule(r#""metric":"m","above":1,"reading":"rates""#),
        expect!["settings.rules[0].reading: unknown variant `rates`, expected `value` or `rate`; did you mean `rate`?"],
    );
    check_ignored(
        &with_rule(r#""metric":"m","above":1,"match":{"datname":5}"#),
        expect!["settings.rules[0].match.datname: invalid type: integer `5`, expected a label's value or a list of them"],
    );
}

#[test]
fn an_invalid_rule_leaves_all_others_in_force() {
    let settings = r#"{"ruels":[],"rules":[{"id":"a","metric":"m","above":"80%","severity":"info"},{"id":"b","metric":"m","above":1,"severity":"info"},5]}"#;
    check_ignored(
        settings,
        expect![[r#"
            settings.ruels: unknown key; did you mean `rules`?
            settings.rules[0].above: invalid type: string "80%", expected f64
            settings.rules[2]: invalid type: integer `5`, expected struct RuleSettings"#]],
    );
    let rules = plugin(settings).expect("wrong rules are left out").rules();
    assert_eq!(rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["b"]);
}
