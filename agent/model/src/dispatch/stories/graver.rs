//! News that is graver than all messages of its group does not wait for the interval.

use super::*;

/// A story with one group, for which an alert of this severity was just sent.
fn calm_story(severity: Severity) -> Story {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", severity)]);
    story.pass(30);
    assert_eq!(story.sent().len(), 1);
    story
}

fn sorted(mut sent: Vec<String>) -> Vec<String> {
    sent.sort();
    sent
}

#[test]
fn a_first_critical_does_not_wait_behind_calm_news_of_its_group() {
    let mut story = calm_story(Info);
    story.pass(10);
    story.judge("db1", &[("lag", Info), ("disk", Critical)]);
    assert_eq!(story.dispatcher.next_due(story.now), Some(story.now.monotonic + Duration::from_secs(30)));
    story.pass(29);
    assert!(story.sent().is_empty(), "it waits for other alerts of its group");
    story.pass(1);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, critical (and 1 more)"]);
    story.judge("db1", &[("lag", Info), ("disk", Critical), ("b", Warning)]);
    story.pass(299);
    assert!(story.sent().is_empty(), "a receiver that got a critical alert gets no message for each calmer one");
    story.pass(1);
    assert_eq!(sorted(story.sent()), ["ops: b of db1 fires, warning (and 2 more)"]);
}

/// Usual course of a failover: no server takes writes, then two do.
#[test]
fn a_new_critical_alert_does_not_wait_behind_another_one_open_or_ended() {
    let mut story = calm_story(Critical);
    story.pass(10);
    story.judge("db1", &[("disk", Critical)]);
    story.pass(29);
    assert!(story.sent().is_empty(), "it waits for other alerts of its group");
    story.pass(1);
    assert_eq!(sorted(story.sent()), ["ops: disk of db1 fires, critical", "ops: lag of db1 resolved, critical"]);
    story.judge("db1", &[("disk", Critical), ("a", Critical)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: a of db1 fires, critical (and 1 more)"]);
}

#[test]
fn an_alert_that_becomes_graver_while_it_waits_is_sent_before_the_end_of_the_interval() {
    let mut story = calm_story(Warning);
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.pass(60);
    assert!(story.sent().is_empty());
    story.judge("db1", &[("lag", Warning), ("disk", Critical)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, critical (and 1 more)"]);
}

#[test]
fn calm_news_is_sent_together_with_graver_news() {
    let mut story = calm_story(Info);
    story.judge("db1", &[("a", Info)]);
    story.pass(60);
    assert!(story.sent().is_empty());
    story.judge("db1", &[("a", Info), ("disk", Warning)]);
    story.pass(30);
    assert_eq!(sorted(story.sent()), ["ops: a of db1 fires, info", "ops: disk of db1 fires, warning", "ops: lag of db1 resolved, info"]);
}

#[test]
fn a_held_alert_does_not_count_as_sent() {
    let mut story = calm_story(Info);
    story.silence("s1", &["rule=disk"], 3_600);
    story.judge("db1", &[("lag", Info), ("disk", Critical)]);
    story.pass(30);
    assert!(story.sent().is_empty(), "it is silenced");
    story.judge("db1", &[("lag", Info), ("disk", Critical), ("a", Critical)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: a of db1 fires, critical (and 1 more)"], "its receiver got nothing grave");
}

#[test]
fn after_a_message_of_ends_a_new_alert_is_sent_at_once() {
    let mut story = calm_story(Critical);
    story.judge("db1", &[]);
    story.pass(300);
    assert_eq!(story.sent(), ["ops: lag of db1 resolved, critical"]);
    story.pass(10);
    story.judge("db1", &[("disk", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, warning"]);
}

#[test]
fn a_reminder_counts_with_the_severity_of_its_alert() {
    let mut story = calm_story(Warning);
    story.pass(4 * 3_600);
    assert_eq!(story.sent(), ["ops: lag of db1 still fires, warning"]);
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.pass(30);
    assert!(story.sent().is_empty(), "a message as grave was just sent");
    story.judge("db1", &[("lag", Warning), ("disk", Warning), ("a", Critical)]);
    story.pass(30);
    assert_eq!(story.sent().len(), 2);
}

#[test]
fn a_less_grave_alert_waits_for_the_interval() {
    let mut story = calm_story(Critical);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(299);
    assert!(story.sent().is_empty());
    story.pass(1);
    assert_eq!(story.sent(), ["ops: lag of db1 changed, warning"]);
    story.judge("db1", &[("lag", Warning), ("disk", Critical)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, critical (and 1 more)"], "in this interval only a warning was sent");
}

#[test]
fn each_group_and_each_receiver_has_its_own_interval() {
    let pager = Route { continues: true, ..route(&["severity=warning"], "pager") };
    let mut story = Story::new(vec![pager, route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.judge("db2", &[("lag", Info)]);
    story.pass(30);
    assert_eq!(story.sent().len(), 3);
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.judge("db2", &[("lag", Info), ("disk", Warning)]);
    story.pass(30);
    assert_eq!(sorted(story.sent()), ["ops: disk of db2 fires, warning (and 1 more)", "pager: disk of db2 fires, warning"]);
}

#[test]
fn no_wait_sends_at_once_and_a_wait_longer_than_the_interval_ends_with_the_interval() {
    let no_wait = Route { group_wait: Duration::ZERO, ..route(&[], "ops") };
    let long_wait = Route { group_wait: Duration::from_secs(600), ..route(&[], "boss") };
    let mut story = Story::new(vec![Route { continues: true, ..no_wait }, long_wait]);
    story.judge("db1", &[("lag", Info)]);
    assert_eq!(story.sent(), ["ops: lag of db1 fires, info"]);
    story.pass(600);
    assert_eq!(story.sent(), ["boss: lag of db1 fires, info"]);
    story.judge("db1", &[("lag", Info), ("disk", Critical)]);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, critical (and 1 more)"]);
    story.pass(300);
    assert_eq!(story.sent(), ["boss: disk of db1 fires, critical (and 1 more)"], "graver alerts never wait longer than others");
}

#[test]
fn a_restart_keeps_the_sent_severity_and_graver_news() {
    let mut story = calm_story(Warning);
    story.pass(10);
    story.restart();
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.pass(30);
    assert!(story.sent().is_empty(), "a message as grave was sent 40 s ago");
    story.judge("db1", &[("lag", Warning), ("disk", Warning), ("a", Critical)]);
    story.pass(20);
    story.restart();
    story.pass(10);
    assert!(story.sent().iter().any(|line| line == "ops: a of db1 fires, critical (and 1 more)"), "its wait goes on");
}

#[test]
fn a_clock_that_was_set_back_before_a_restart_keeps_nothing_grave_waiting() {
    let mut story = calm_story(Critical);
    story.pass(10);
    story.judge("db1", &[("lag", Critical), ("disk", Critical)]);
    story.now.wall_ms -= 3_600_000;
    story.restart();
    story.pass(30);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, critical (and 1 more)"], "the time of the other message is unknown");
}

#[test]
fn a_receiver_with_room_again_gets_its_alerts_soon() {
    let mut story = calm_story(Info);
    story.has_room = false;
    story.judge("db1", &[("lag", Info), ("disk", Critical)]);
    story.pass(30);
    assert_eq!(story.release().withheld.len(), 1);
    story.dispatcher.take_changes();
    story.pass(5);
    story.sent();
    assert!(story.dispatcher.take_changes().is_empty(), "to find that there is still no room costs the store nothing");
    story.has_room = true;
    story.pass(5);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, critical (and 1 more)"]);
}
