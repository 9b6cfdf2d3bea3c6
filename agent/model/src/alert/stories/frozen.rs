//! Alerts that cannot be judged, for a while or for ever.

use expect_test::expect;

use super::check;

#[test]
fn a_skipped_rule_freezes_a_firing_alert() {
    check(
        "0s",
        "0s",
        "0s raise t=a\n 1m skip\n 60m skip",
        expect![[r#"
            0s #1 t=a inactive → firing: firing, warning 🔔
            open: #1 firing warning since 0ns, held 0ns, frozen since 60s (2): skipped: no data
        "#]],
    );
}

#[test]
fn a_skipped_label_set_freezes_only_its_alert() {
    check(
        "0s",
        "0s",
        "0s raise t=a, raise t=b, raise t=c\n 1m skip t=a, raise t=c",
        expect![[r#"
            0s #1 t=a inactive → firing: firing, warning 🔔
            0s #2 t=b inactive → firing: firing, warning 🔔
            0s #3 t=c inactive → firing: firing, warning 🔔
            1m #2 t=b firing → resolved: resolved, warning 🔔
            open: #1 firing warning since 0ns, held 0ns, frozen since 60s (1): skipped: no data
            open: #3 firing warning since 0ns, held 0ns
        "#]],
    );
}

#[test]
fn a_skip_with_a_reason_covers_every_alert_that_has_its_labels() {
    check(
        "0s",
        "0s",
        "0s raise d=app t=a, raise d=app t=b, raise d=shop t=a\n 1m unread d=app",
        expect![[r#"
            0s #1 d=app t=a inactive → firing: firing, warning 🔔
            0s #2 d=app t=b inactive → firing: firing, warning 🔔
            0s #3 d=shop t=a inactive → firing: firing, warning 🔔
            1m #3 d=shop t=a firing → resolved: resolved, warning 🔔
            open: #1 firing warning since 0ns, held 0ns, frozen since 60s (1): skipped: timeout
            open: #2 firing warning since 0ns, held 0ns, frozen since 60s (1): skipped: timeout
        "#]],
    );
}

#[test]
fn a_finding_counts_although_its_rule_was_skipped() {
    check(
        "0s",
        "0s",
        "0s raise t=a, raise t=b\n 1m raise critical t=a, skip",
        expect![[r#"
            0s #1 t=a inactive → firing: firing, warning 🔔
            0s #2 t=b inactive → firing: firing, warning 🔔
            1m #1 t=a firing → firing: severity-changed, critical 🔔
            open: #1 firing critical since 0ns, held 0ns
            open: #2 firing warning since 0ns, held 0ns, frozen since 60s (1): skipped: no data
        "#]],
    );
}

#[test]
fn frozen_time_counts_neither_towards_firing_nor_towards_resolving() {
    check(
        "5m",
        "0s",
        "0s raise\n 2m raise\n 3m fail\n 60m raise\n 62m raise\n 63m raise",
        expect![[r#"
            0s #1 inactive → pending: raised, warning
            62m #1 pending → firing: firing, warning 🔔
            open: #1 firing warning since 3720s, held 0ns
        "#]],
    );
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 3m clear\n 4m freeze\n 60m clear\n 62m clear\n 63m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        63m #1 recovering → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn a_restart_neither_fires_nor_removes_alerts() {
    check(
        "5m",
        "0s",
        "0s raise\n 4m raise\n 5m restart\n 60m raise",
        expect![[r#"
        0s #1 inactive → pending: raised, warning
        open: #1 pending warning since 0ns, held 240s
    "#]],
    );
    check(
        "0s",
        "5m",
        "0s raise\n 1m clear\n 5m clear\n 6m restart\n 60m clear\n 61m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        1m #1 firing → recovering: recovering, warning
        61m #1 recovering → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn the_first_absence_after_a_restart_is_a_real_one() {
    check(
        "0s",
        "0s",
        "0s raise\n 1m restart\n 2m skip\n 3m clear",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        3m #1 firing → resolved: resolved, warning 🔔
    "#]],
    );
}

#[test]
fn one_snapshot_judged_twice_adds_no_time() {
    check(
        "1m",
        "0s",
        "0s raise\n 50s raise\n 50s raise\n 40s raise\n 59s raise\n 60s raise",
        expect![[r#"
        0s #1 inactive → pending: raised, warning
        60s #1 pending → firing: firing, warning 🔔
        open: #1 firing warning since 60s, held 0ns
    "#]],
    );
}

#[test]
fn removed_rules_plugins_and_subjects_resolve_with_their_reason() {
    check(
        "0s",
        "9m",
        "0s raise t=a\n 1m clear\n 2m rule-removed",
        expect![[r#"
        0s #1 t=a inactive → firing: firing, warning 🔔
        1m #1 t=a firing → recovering: recovering, warning
        2m #1 t=a recovering → resolved: rule-removed, warning 🔔
    "#]],
    );
    check(
        "1m",
        "9m",
        "0s raise t=a\n 1m raise t=a, raise t=b\n 2m plugin-removed",
        expect![[r#"
        0s #1 t=a inactive → pending: raised, warning
        1m #1 t=a pending → firing: firing, warning 🔔
        1m #2 t=b inactive → pending: raised, warning
        2m #1 t=a firing → resolved: plugin-removed, warning 🔔
        2m #2 t=b pending → inactive: plugin-removed, warning
    "#]],
    );
    check(
        "0s",
        "9m",
        "0s raise\n 1m fail\n 2m subject-removed\n 3m raise",
        expect![[r#"
        0s #1 inactive → firing: firing, warning 🔔
        2m #1 firing → resolved: subject-removed, warning 🔔
        3m #2 inactive → firing: firing, warning 🔔
        open: #2 firing warning since 180s, held 0ns
    "#]],
    );
}
