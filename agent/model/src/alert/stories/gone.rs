//! Series that are no longer there. A missing series does not mean that all is well.

use std::time::Duration;

use expect_test::{Expect, expect};

use super::{SLOT_ACTIVE, check_rule, rule};
use crate::finding::RuleSpec;

fn slot_rule(keep_firing_s: u64) -> RuleSpec {
    RuleSpec { needs: vec![SLOT_ACTIVE.to_owned()], ..rule(Duration::ZERO, Duration::from_secs(keep_firing_s)) }
}

fn check_slots(story: &str, expected: Expect) {
    check_rule(slot_rule(0), story, &expected);
}

#[test]
fn a_dropped_slot_is_not_a_slot_that_is_fine() {
    check_slots(
        "0s {a b} raise slot=a, raise slot=b
         10s {a} raise slot=a
         20s {a} clear
         30s {} clear",
        expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            0s #2 slot=b inactive → firing: firing, warning 🔔
            20s #1 slot=a firing → resolved: resolved, warning 🔔
            30s #2 slot=b firing → resolved: gone, warning 🔔
        "#]],
    );
}

#[test]
fn a_series_that_stays_away_ends_its_alert() {
    check_slots(
        "0s {a} raise slot=a
         10s {} clear
         20s {} clear
         30s {} clear
         40s {a} raise slot=a",
        expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            30s #1 slot=a firing → resolved: gone, warning 🔔
            40s #2 slot=a inactive → firing: firing, warning 🔔
            open: #2 firing warning since 40s, held 0ns
        "#]],
    );
    check_rule(
        slot_rule(300),
        "0s {a} raise slot=a
         10s {a} clear
         20s {} clear
         30s {} clear
         40s {} clear",
        &expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            10s #1 slot=a firing → recovering: recovering, warning
            40s #1 slot=a recovering → resolved: gone, warning 🔔
        "#]],
    );
    check_rule(
        RuleSpec { for_: Duration::from_secs(300), ..slot_rule(0) },
        "0s {a} raise slot=a
         10s {} clear
         20s {} clear
         30s {} clear",
        &expect![[r#"
            0s #1 slot=a inactive → pending: raised, warning
            30s #1 slot=a pending → inactive: gone, warning
        "#]],
    );
}

#[test]
fn missing_readings_are_counted_anew_after_a_series_returned() {
    check_slots(
        "0s {a} raise slot=a
         10s {} clear
         20s {} clear
         30s {a} raise slot=a
         40s {} clear
         50s {} clear
         60s {a} clear",
        expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            60s #1 slot=a firing → resolved: resolved, warning 🔔
        "#]],
    );
}

#[test]
fn one_reading_counts_once_however_often_it_is_judged() {
    check_slots(
        "0s {a} raise slot=a
         10s {@10s} clear
         20s {@10s} clear
         30s {@10s} clear
         40s {@40s} clear",
        expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            open: #1 firing warning since 0ns, held 0ns, frozen since 10s (4): no data: its series is gone, missing 2
        "#]],
    );
}

#[test]
fn a_part_that_fails_freezes_for_ever() {
    check_slots(
        "0s {a} raise slot=a
         10s {failed} clear
         20s {unsupported} clear
         30s {stale} skip
         40s {failed} skip
         50s {failed} clear",
        expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            open: #1 firing warning since 0ns, held 0ns, frozen since 10s (5): no data: part `replication` failed: permission denied
        "#]],
    );
}

#[test]
fn evaluations_without_a_reading_neither_count_nor_interrupt() {
    check_slots(
        "0s {a} raise slot=a
         10s {} clear
         20s {failed} clear
         30s {} clear
         40s {} fail
         50s {} clear",
        expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            50s #1 slot=a firing → resolved: gone, warning 🔔
        "#]],
    );
}

#[test]
fn a_rule_that_sees_no_data_counts_unless_the_series_is_there() {
    check_slots(
        "0s {a} raise slot=a\n 10s {} skip\n 20s {} skip slot=a\n 30s {} skip",
        expect![[r#"
        0s #1 slot=a inactive → firing: firing, warning 🔔
        30s #1 slot=a firing → resolved: gone, warning 🔔
    "#]],
    );
    // A rate needs two readings, and NaN is a value.
    check_slots(
        "0s {a} raise slot=a\n 10s {a} skip\n 20s {a} skip slot=a\n 30s {a} skip\n 40s {a} skip",
        expect![[r#"
        0s #1 slot=a inactive → firing: firing, warning 🔔
        open: #1 firing warning since 0ns, held 0ns, frozen since 10s (4): skipped: no data
    "#]],
    );
}

#[test]
fn an_alert_without_labels_is_gone_with_the_last_sample() {
    check_slots(
        "0s {a b} raise\n 10s {b} clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        10s #1 firing → resolved: resolved, warning 🔔
    "#]],
    );
    check_slots(
        "0s {a b} raise\n 10s {} clear\n 20s {} clear\n 30s {} clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        30s #1 firing → resolved: gone, warning 🔔
    "#]],
    );
}

#[test]
fn labels_of_the_plugin_s_own_have_no_series() {
    check_slots(
        "0s {a} raise kind=odd\n 10s {} clear",
        expect![[r#"
        0s #1 kind=odd inactive → firing: firing, warning 🔔
        10s #1 kind=odd firing → resolved: resolved, warning 🔔
    "#]],
    );
    // Only the plugin knows its labels, and it reports no data.
    check_slots(
        "0s {a} raise kind=odd\n 10s {} skip\n 20s {} skip\n 30s {} skip",
        expect![[r#"
        0s #1 kind=odd inactive → firing: firing, warning 🔔
        30s #1 kind=odd firing → resolved: gone, warning 🔔
    "#]],
    );
    check_slots(
        "0s {a} raise kind=odd\n 10s {failed} skip\n 20s {failed} skip\n 30s {failed} skip",
        expect![[r#"
        0s #1 kind=odd inactive → firing: firing, warning 🔔
        open: #1 firing warning since 0ns, held 0ns, frozen since 10s (3): skipped: no data
    "#]],
    );
}

#[test]
fn the_first_reading_after_a_restart_never_counts() {
    check_slots(
        "0s {a} raise slot=a
         10s restart
         20s {failed} clear
         30s {} clear
         40s {@30s} clear
         50s {} clear
         60s {} clear
         70s {} clear",
        expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            70s #1 slot=a firing → resolved: gone, warning 🔔
        "#]],
    );
    check_slots(
        "0s {a} raise slot=a
         10s {} clear
         20s {} clear
         30s restart
         40s {} clear
         50s {} clear",
        expect![[r#"
            0s #1 slot=a inactive → firing: firing, warning 🔔
            50s #1 slot=a firing → resolved: gone, warning 🔔
        "#]],
    );
}
