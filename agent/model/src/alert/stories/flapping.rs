//! Conditions that come and go.

use std::time::Duration;

use expect_test::expect;

use super::{Story, check, rule};
use crate::alert::book::AlertBook;

/// One evaluation each ten seconds: a letter each, `w` and `c` for a warning and a critical finding, `.` for clear, `-` for a failure.
fn evaluations(letters: &str) -> String {
    let words = |letter| match letter {
        'w' => "raise",
        'c' => "raise critical",
        'h' => "hold",
        '.' => "clear",
        '-' => "fail",
        'R' => "restart",
        other => panic!("no evaluation {other}"),
    };
    letters.chars().enumerate().map(|(index, letter)| format!("{}s {}\n", 10 * index, words(letter))).collect()
}

/// Reasons of the messages that are sent about a rule over these evaluations.
fn sent(for_s: u64, keep_firing_s: u64, letters: &str) -> Vec<String> {
    let rule = rule(Duration::from_secs(for_s), Duration::from_secs(keep_firing_s));
    let mut story = Story { book: AlertBook::default(), rule, text: String::new() };
    for line in evaluations(letters).lines() {
        let (time, words) = line.split_once(' ').unwrap();
        story.step(time, words);
    }
    let reason = |line: &str| line.split(": ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    story.text.lines().filter(|line| line.ends_with('🔔')).map(reason).collect()
}

#[test]
fn an_alert_that_changes_six_times_in_a_row_flaps_and_stays_open_until_it_is_calm() {
    check(
        "0s",
        "0s",
        &evaluations("w.w.w.w.w...................w"),
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        10s #1 firing → resolved: resolved, warning 🔔
        20s #2 inactive → firing: firing, warning 🔔
        30s #2 firing → resolved: resolved, warning 🔔
        40s #3 inactive → firing: firing, warning 🔔
        50s #3 firing → recovering: recovering, warning
        50s #3 recovering → recovering: flapping-started, warning 🔔
        60s #3 recovering → firing: returned, warning
        70s #3 firing → recovering: recovering, warning
        80s #3 recovering → firing: returned, warning
        90s #3 firing → recovering: recovering, warning
        250s #3 recovering → recovering: flapping-ended, warning
        250s #3 recovering → resolved: resolved, warning 🔔
        280s #4 inactive → firing: firing, warning 🔔
        open: #4 firing warning since 280s, held 0ns
    "#]],
    );
}

#[test]
fn flapping_each_cycle_for_an_hour_sends_six_messages() {
    // Five changes in a row weigh 29.9 %, so the sixth is the first that starts flapping.
    assert_eq!(sent(0, 0, &"w.".repeat(180)), ["firing", "resolved", "firing", "resolved", "firing", "flapping-started"]);
    // A rule that waits before it resolves is one incident from the start.
    assert_eq!(sent(0, 60, &"w.".repeat(180)), ["firing", "flapping-started"]);
    assert_eq!(sent(0, 60, &"ww...".repeat(72)), ["firing", "flapping-started"]);
}

#[test]
fn after_an_hour_of_flapping_the_end_is_sent_once() {
    let hour = "w.".repeat(180);
    assert_eq!(sent(0, 60, &format!("{hour}{}", ".".repeat(30))), ["firing", "flapping-started", "resolved"]);
    assert_eq!(sent(0, 60, &format!("{hour}{}", "w".repeat(30))), ["firing", "flapping-started"], "it fires, as the first message said");
}

#[test]
fn a_pending_alert_never_flaps() {
    assert_eq!(sent(20, 0, &"w.".repeat(180)), Vec::<String>::new());
    check(
        "20s",
        "0s",
        &evaluations("w.w.w.w.wwwww."),
        expect![[r#"
            0s #1 inactive → pending: raised, warning
            10s #1 pending → inactive: cleared, warning
            20s #2 inactive → pending: raised, warning
            30s #2 pending → inactive: cleared, warning
            40s #3 inactive → pending: raised, warning
            50s #3 pending → inactive: cleared, warning
            60s #4 inactive → pending: raised, warning
            70s #4 pending → inactive: cleared, warning
            80s #5 inactive → pending: raised, warning
            100s #5 pending → firing: firing, warning 🔔
            130s #5 firing → resolved: resolved, warning 🔔
        "#]],
    );
}

#[test]
fn a_rule_that_waits_flaps_as_soon_as_messages_would_be_sent() {
    assert_eq!(sent(10, 0, &"ww.".repeat(100)), ["firing", "resolved", "firing", "resolved", "firing", "flapping-started"]);
}

#[test]
fn a_failed_evaluation_is_no_change() {
    assert_eq!(sent(0, 60, &"w-".repeat(180)), ["firing"]);
    assert_eq!(sent(0, 60, &"w-.-".repeat(90)), ["firing", "flapping-started"]);
}

#[test]
fn a_value_between_its_thresholds_does_not_flap() {
    assert_eq!(sent(0, 60, &"wh".repeat(180)), ["firing"]);
    assert_eq!(sent(0, 60, &format!("w{}", ".h".repeat(180))), ["firing"]);
}

#[test]
fn a_severity_that_changes_each_cycle_flaps_and_then_only_rises() {
    let changed = |count| std::iter::repeat_n("severity-changed", count);
    let expected: Vec<&str> = ["firing"].into_iter().chain(changed(5)).chain(["flapping-started"]).collect();
    assert_eq!(sent(0, 0, &"wc".repeat(180)), expected);
    // The first critical finding is sent although the alert flaps; milder findings wait until it is calm.
    let calm = "w".repeat(30);
    assert_eq!(sent(0, 60, &format!("w.w.w.w.c.w.c.w.{calm}")), ["firing", "flapping-started", "severity-changed", "severity-changed"]);
}

#[test]
fn a_restart_keeps_flapping_alerts() {
    // Right after the fourth of six changes, when no alert is open.
    assert_eq!(
        sent(0, 0, &format!("w.w.R{}", "w.".repeat(90))),
        ["firing", "resolved", "firing", "resolved", "firing", "flapping-started"]
    );
    assert_eq!(sent(0, 0, &format!("w.w.w.R{}", ".".repeat(30))).last().map(String::as_str), Some("resolved"));
}
