//! Which alerts an unreachable server explains, and which evidence counts for that.

use super::*;

#[test]
fn a_plugin_cannot_mute_a_server_without_proof() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.plugins_lie = true;
    story.judge("db1", &[("server-down", Info), ("disk", Critical)]);
    story.pass(30);
    let mut sent = story.sent();
    sent.sort();
    assert_eq!(sent, ["ops: disk of db1 fires, critical", "ops: server-down of db1 fires, info"], "the server answers");
    assert_eq!(story.dispatcher.explain(&alert("disk", "db1"), story.now).inhibited_by, None);
}

#[test]
fn an_outage_explains_nothing_after_the_server_answers_again() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: server-down of db1 fires, critical"]);
    story.plugins_lie = true;
    story.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, warning (and 1 more)"], "sent at once: it has waited long enough");
}

#[test]
fn a_failing_plugins_alert_explains_nothing_when_another_plugin_reaches_the_server() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: server-down of db1 fires, critical"]);
    let answers = story.snapshot("db1", true);
    story.dispatcher.record_judged("other", &answers, &story.book);
    assert!(story.sent().is_empty(), "its own plugin will see it as well");
    story.book.freeze_plugin("essentials", "quarantined", story.now);
    story.dispatcher.record_judged("other", &answers, &story.book);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, warning (and 1 more)"]);
}

#[test]
fn a_restart_during_an_outage_sends_no_explained_alerts() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    story.pass(30);
    story.sent();
    story.restart();
    assert!(story.sent().is_empty(), "no snapshot shows anything else yet");
    story.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    story.pass(300);
    assert!(story.sent().is_empty());
    story.judge("db1", &[("disk", Warning)]);
    assert_eq!(story.sent(), ["ops: server-down of db1 resolved, critical", "ops: disk of db1 fires, warning"]);
}

#[test]
fn alerts_explained_by_an_outage_are_not_repeated_after_a_restart() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    let down = [("server-down", Critical), ("disk", Warning)];
    story.judge("db1", &[("disk", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, warning"]);
    story.judge("db1", &down);
    story.pass(300);
    assert_eq!(story.sent(), ["ops: server-down of db1 fires, critical (and 1 more)"]);
    story.restart();
    story.judge("db1", &down);
    story.pass(4 * 3_600);
    assert_eq!(story.sent(), ["ops: server-down of db1 still fires, critical (and 1 more)"], "`disk` was sent, and never held back");
    story.pass(3 * 3_600);
    story.restart();
    story.pass(3_600);
    story.judge("db1", &down);
    assert_eq!(story.sent(), ["ops: server-down of db1 still fires, critical (and 1 more)"]);
}

#[test]
fn reminders_due_at_a_start_wait_for_the_first_reading_of_the_server() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    let down = [("server-down", Critical), ("disk", Warning)];
    story.judge("db1", &[("disk", Warning)]);
    story.judge("db2", &[("disk", Warning)]);
    story.pass(30);
    story.sent();
    story.judge("db1", &down);
    story.pass(300);
    assert_eq!(story.sent(), ["ops: server-down of db1 fires, critical (and 1 more)"]);
    story.pass(5 * 3_600);
    story.restart();
    assert!(story.sent().is_empty(), "no server was looked at yet");
    story.judge("db1", &down);
    story.judge("db2", &[("disk", Warning)]);
    story.pass(120);
    let mut sent = story.sent();
    sent.sort();
    assert_eq!(sent, ["ops: disk of db2 still fires, warning", "ops: server-down of db1 still fires, critical (and 1 more)"]);
}

#[test]
fn a_proof_after_a_restart_mutes_no_other_server_and_ends_as_it_does_without_one() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    story.judge("db2", &[("disk", Warning)]);
    story.pass(30);
    story.sent();
    story.restart();
    story.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    story.judge("db2", &[("disk", Warning)]);
    story.pass(4 * 3_600);
    assert_eq!(story.sent(), ["ops: server-down of db1 still fires, critical", "ops: disk of db2 still fires, warning"]);
    story.judge("db1", &[("disk", Warning)]);
    assert_eq!(story.sent(), ["ops: server-down of db1 resolved, critical", "ops: disk of db1 fires, warning"]);
}

#[test]
fn a_source_that_does_not_match_any_more_explains_nothing() {
    let matchers = |text: &str| Matchers(vec![text.parse().expect("right")]);
    let (source, target) = (matchers("severity=critical"), matchers("rule=lag"));
    let rule = Inhibition { name: "grave".to_owned(), source, target, equal: vec!["subject".to_owned()], needs_proof: false };
    let mut story = Story::new(vec![route(&[], "ops")]).with_inhibitions(vec![rule]);
    story.judge("db1", &[("disk", Critical), ("lag", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, critical"]);
    story.judge("db1", &[("disk", Warning), ("lag", Warning)]);
    assert_eq!(story.sent()[1..], ["ops: lag of db1 fires, warning"], "at once, with what changed");
}
