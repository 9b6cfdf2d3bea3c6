//! Which alerts an unreachable server explains, and which evidence counts for that.

use super::*;

#[test]
fn a_plugin_cannot_mute_a_server_without_proof() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.plugins_lie = true;
    town.judge("db1", &[("server-down", Info), ("disk", Critical)]);
    town.pass(30);
    let mut sent = town.sent();
    sent.sort();
    assert_eq!(sent, ["ops: disk of db1 fires, critical", "ops: server-down of db1 fires, info"], "the server answers");
    assert_eq!(town.dispatcher.explain(&alert("disk", "db1"), town.now).inhibited_by, None);
}

#[test]
fn an_outage_explains_nothing_after_the_server_answers_again() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: server-down of db1 fires, critical"]);
    town.plugins_lie = true;
    town.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, warning (and 1 more)"], "sent at once: it has waited long enough");
}

#[test]
fn a_failing_plugins_alert_explains_nothing_when_another_plugin_reaches_the_server() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: server-down of db1 fires, critical"]);
    let answers = town.snapshot("db1", true);
    town.dispatcher.record_judged("other", &answers, &town.book);
    assert!(town.sent().is_empty(), "its own plugin will see it as well");
    town.book.freeze_plugin("essentials", "quarantined", town.now);
    town.dispatcher.record_judged("other", &answers, &town.book);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, warning (and 1 more)"]);
}

#[test]
fn a_restart_during_an_outage_sends_no_explained_alerts() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    town.pass(30);
    town.sent();
    town.restart();
    assert!(town.sent().is_empty(), "no snapshot shows anything else yet");
    town.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    town.pass(300);
    assert!(town.sent().is_empty());
    town.judge("db1", &[("disk", Warning)]);
    assert_eq!(town.sent(), ["ops: server-down of db1 resolved, critical", "ops: disk of db1 fires, warning"]);
}

#[test]
fn alerts_explained_by_an_outage_are_not_repeated_after_a_restart() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    let down = [("server-down", Critical), ("disk", Warning)];
    town.judge("db1", &[("disk", Warning)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, warning"]);
    town.judge("db1", &down);
    town.pass(300);
    assert_eq!(town.sent(), ["ops: server-down of db1 fires, critical (and 1 more)"]);
    town.restart();
    town.judge("db1", &down);
    town.pass(4 * 3_600);
    assert_eq!(town.sent(), ["ops: server-down of db1 still fires, critical (and 1 more)"], "`disk` was sent, and never held back");
    town.pass(3 * 3_600);
    town.restart();
    town.pass(3_600);
    town.judge("db1", &down);
    assert_eq!(town.sent(), ["ops: server-down of db1 still fires, critical (and 1 more)"]);
}

#[test]
fn reminders_due_at_a_start_wait_for_the_first_reading_of_the_server() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    let down = [("server-down", Critical), ("disk", Warning)];
    town.judge("db1", &[("disk", Warning)]);
    town.judge("db2", &[("disk", Warning)]);
    town.pass(30);
    town.sent();
    town.judge("db1", &down);
    town.pass(300);
    assert_eq!(town.sent(), ["ops: server-down of db1 fires, critical (and 1 more)"]);
    town.pass(5 * 3_600);
    town.restart();
    assert!(town.sent().is_empty(), "no server was looked at yet");
    town.judge("db1", &down);
    town.judge("db2", &[("disk", Warning)]);
    town.pass(120);
    let mut sent = town.sent();
    sent.sort();
    assert_eq!(sent, ["ops: disk of db2 still fires, warning", "ops: server-down of db1 still fires, critical (and 1 more)"]);
}

#[test]
fn a_proof_after_a_restart_mutes_no_other_server_and_ends_as_it_does_without_one() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    town.judge("db2", &[("disk", Warning)]);
    town.pass(30);
    town.sent();
    town.restart();
    town.judge("db1", &[("server-down", Critical), ("disk", Warning)]);
    town.judge("db2", &[("disk", Warning)]);
    town.pass(4 * 3_600);
    assert_eq!(town.sent(), ["ops: server-down of db1 still fires, critical", "ops: disk of db2 still fires, warning"]);
    town.judge("db1", &[("disk", Warning)]);
    assert_eq!(town.sent(), ["ops: server-down of db1 resolved, critical", "ops: disk of db1 fires, warning"]);
}

#[test]
fn a_source_that_does_not_match_any_more_explains_nothing() {
    let matchers = |text: &str| Matchers(vec![text.parse().expect("right")]);
    let (source, target) = (matchers("severity=critical"), matchers("rule=lag"));
    let rule = Inhibition { name: "grave".to_owned(), source, target, equal: vec!["subject".to_owned()], needs_proof: false };
    let mut town = Town::new(vec![route(&[], "ops")]).with_inhibitions(vec![rule]);
    town.judge("db1", &[("disk", Critical), ("lag", Warning)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, critical"]);
    town.judge("db1", &[("disk", Warning), ("lag", Warning)]);
    assert_eq!(town.sent()[1..], ["ops: lag of db1 fires, warning"], "at once, with what changed");
}
