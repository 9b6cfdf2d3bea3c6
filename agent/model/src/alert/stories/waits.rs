//! Alerts from the first raise to the end, with all facts readable.

use expect_test::expect;

use super::check;

#[test]
fn an_alert_waits_for_its_rule_then_fires_and_resolves_once() {
    check(
        "5m",
        "2m",
        "0s clear
         1m raise
         3m raise
         6m raise
         7m raise
         8m clear
         9m clear
        10m clear
        11m clear",
        expect![[r#"
            1m #1 inactive → pending: raised, warning
            6m #1 pending → firing: firing, warning 🔔
            8m #1 firing → recovering: recovering, warning
            10m #1 recovering → resolved: resolved, warning 🔔
        "#]],
    );
}

#[test]
fn without_waits_it_fires_and_resolves_at_once() {
    check(
        "0s",
        "0s",
        "0s raise\n 10s clear\n 20s raise",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        10s #1 firing → resolved: resolved, warning 🔔
        20s #2 inactive → firing: firing, warning 🔔
        open: #2 firing warning since 20s, held 0ns
    "#]],
    );
}

#[test]
fn a_condition_that_ends_before_its_waiting_time_sends_no_message() {
    check(
        "5m",
        "0s",
        "0s raise\n 4m raise\n 5m clear\n 6m raise\n 7m raise",
        expect![[r#"
        0s #1 inactive → pending: raised, warning
        5m #1 pending → inactive: cleared, warning
        6m #2 inactive → pending: raised, warning
        open: #2 pending warning since 360s, held 60s
    "#]],
    );
}

#[test]
fn a_raise_while_recovering_is_the_same_incident() {
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 4m raise\n 5m clear\n 9m clear\n 10m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        4m #1 recovering → firing: returned, warning
        5m #1 firing → recovering: recovering, warning
        10m #1 recovering → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_hold_keeps_an_alert_but_never_starts_one() {
    check(
        "0s",
        "0s",
        "0s hold\n 1m raise\n 2m hold\n 3m hold\n 4m clear\n 5m hold",
        expect![[r#"
        1m #1 inactive → firing: firing, warning 🔔
        4m #1 firing → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_hold_brings_a_recovering_alert_back() {
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 2m hold\n 3m clear\n 8m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        2m #1 recovering → firing: returned, warning
        3m #1 firing → recovering: recovering, warning
        8m #1 recovering → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_pending_alert_under_hold_waits_without_its_clock() {
    check(
        "5m",
        "0s",
        "0s raise\n 2m raise\n 3m hold\n 20m hold\n 21m raise\n 23m raise\n 24m raise",
        expect![[r#"
            0s #1 inactive → pending: raised, warning
            23m #1 pending → firing: firing, warning 🔔
            open: #1 firing warning since 1380s, held 0ns
        "#]],
    );
}

#[test]
fn severity_changes_inside_one_incident() {
    check(
        "1m",
        "0s",
        "0s raise\n 30s raise info\n 1m raise\n 2m raise critical\n 3m raise critical\n 4m raise\n 5m clear",
        expect![[r#"
        0s #1 inactive → pending: raised, warning
        1m #1 pending → firing: firing, warning 🔔
        2m #1 firing → firing: severity-changed, critical 🔔
        4m #1 firing → firing: severity-changed, warning 🔔
        5m #1 firing → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_hold_may_lower_a_severity_but_not_raise_it() {
    check(
        "0s",
        "0s",
        "0s raise\n 1m hold critical\n 2m raise critical\n 3m hold warning",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        2m #1 firing → firing: severity-changed, critical 🔔
        3m #1 firing → firing: severity-changed, warning 🔔
        open: #1 firing warning since 0ns, held 0ns
    "#]],
    );
}

#[test]
fn a_graver_return_sends_a_message() {
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 2m raise critical",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        2m #1 recovering → firing: returned, warning
        2m #1 firing → firing: severity-changed, critical 🔔
        open: #1 firing critical since 120s, held 0ns
    "#]],
    );
}
