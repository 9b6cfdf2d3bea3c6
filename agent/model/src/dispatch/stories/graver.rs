//! News that is graver than all messages of its group does not wait for the interval.

use super::*;

/// A story with one group, for which an alert of this severity was just sent.
fn calm_town(severity: Severity) -> Town {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", severity)]);
    town.pass(30);
    assert_eq!(town.sent().len(), 1);
    town
}

fn sorted(mut sent: Vec<String>) -> Vec<String> {
    sent.sort();
    sent
}

#[test]
fn a_first_critical_does_not_wait_behind_calm_news_of_its_group() {
    let mut town = calm_town(Info);
    town.pass(10);
    town.judge("db1", &[("lag", Info), ("disk", Critical)]);
    assert_eq!(town.dispatcher.next_due(town.now), Some(town.now.monotonic + Duration::from_secs(30)));
    town.pass(29);
    assert!(town.sent().is_empty(), "it waits for other alerts of its group");
    town.pass(1);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, critical (and 1 more)"]);
    town.judge("db1", &[("lag", Info), ("disk", Critical), ("b", Warning)]);
    town.pass(299);
    assert!(town.sent().is_empty(), "a receiver that got a critical alert gets no message for each calmer one");
    town.pass(1);
    assert_eq!(sorted(town.sent()), ["ops: b of db1 fires, warning (and 2 more)"]);
}

/// Usual course of a failover: no server takes writes, then two do.
#[test]
fn a_new_critical_alert_does_not_wait_behind_another_one_open_or_ended() {
    let mut town = calm_town(Critical);
    town.pass(10);
    town.judge("db1", &[("disk", Critical)]);
    town.pass(29);
    assert!(town.sent().is_empty(), "it waits for other alerts of its group");
    town.pass(1);
    assert_eq!(sorted(town.sent()), ["ops: disk of db1 fires, critical", "ops: lag of db1 resolved, critical"]);
    town.judge("db1", &[("disk", Critical), ("a", Critical)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: a of db1 fires, critical (and 1 more)"]);
}

#[test]
fn an_alert_that_becomes_graver_while_it_waits_goes_before_the_end_of_the_interval() {
    let mut town = calm_town(Warning);
    town.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    town.pass(60);
    assert!(town.sent().is_empty());
    town.judge("db1", &[("lag", Warning), ("disk", Critical)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, critical (and 1 more)"]);
}

#[test]
fn calm_news_goes_with_graver_news() {
    let mut town = calm_town(Info);
    town.judge("db1", &[("a", Info)]);
    town.pass(60);
    assert!(town.sent().is_empty());
    town.judge("db1", &[("a", Info), ("disk", Warning)]);
    town.pass(30);
    assert_eq!(sorted(town.sent()), ["ops: a of db1 fires, info", "ops: disk of db1 fires, warning", "ops: lag of db1 resolved, info"]);
}

#[test]
fn a_held_alert_does_not_count_as_sent() {
    let mut town = calm_town(Info);
    town.silence("s1", &["rule=disk"], 3_600);
    town.judge("db1", &[("lag", Info), ("disk", Critical)]);
    town.pass(30);
    assert!(town.sent().is_empty(), "it is silenced");
    town.judge("db1", &[("lag", Info), ("disk", Critical), ("a", Critical)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: a of db1 fires, critical (and 1 more)"], "its receiver got nothing grave");
}

#[test]
fn after_a_message_of_ends_a_new_alert_is_sent_at_once() {
    let mut town = calm_town(Critical);
    town.judge("db1", &[]);
    town.pass(300);
    assert_eq!(town.sent(), ["ops: lag of db1 resolved, critical"]);
    town.pass(10);
    town.judge("db1", &[("disk", Warning)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, warning"]);
}

#[test]
fn a_reminder_counts_with_the_severity_of_its_alert() {
    let mut town = calm_town(Warning);
    town.pass(4 * 3_600);
    assert_eq!(town.sent(), ["ops: lag of db1 still fires, warning"]);
    town.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    town.pass(30);
    assert!(town.sent().is_empty(), "a message as grave was just sent");
    town.judge("db1", &[("lag", Warning), ("disk", Warning), ("a", Critical)]);
    town.pass(30);
    assert_eq!(town.sent().len(), 2);
}

#[test]
fn a_less_grave_alert_waits_for_the_interval() {
    let mut town = calm_town(Critical);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(299);
    assert!(town.sent().is_empty());
    town.pass(1);
    assert_eq!(town.sent(), ["ops: lag of db1 changed, warning"]);
    town.judge("db1", &[("lag", Warning), ("disk", Critical)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, critical (and 1 more)"], "in this interval only a warning was sent");
}

#[test]
fn each_group_and_each_receiver_has_its_own_interval() {
    let pager = Route { continues: true, ..route(&["severity=warning"], "pager") };
    let mut town = Town::new(vec![pager, route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.judge("db2", &[("lag", Info)]);
    town.pass(30);
    assert_eq!(town.sent().len(), 3);
    town.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    town.judge("db2", &[("lag", Info), ("disk", Warning)]);
    town.pass(30);
    assert_eq!(sorted(town.sent()), ["ops: disk of db2 fires, warning (and 1 more)", "pager: disk of db2 fires, warning"]);
}

#[test]
fn no_wait_sends_at_once_and_a_wait_longer_than_the_interval_ends_with_the_interval() {
    let no_wait = Route { group_wait: Duration::ZERO, ..route(&[], "ops") };
    let long_wait = Route { group_wait: Duration::from_secs(600), ..route(&[], "boss") };
    let mut town = Town::new(vec![Route { continues: true, ..no_wait }, long_wait]);
    town.judge("db1", &[("lag", Info)]);
    assert_eq!(town.sent(), ["ops: lag of db1 fires, info"]);
    town.pass(600);
    assert_eq!(town.sent(), ["boss: lag of db1 fires, info"]);
    town.judge("db1", &[("lag", Info), ("disk", Critical)]);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, critical (and 1 more)"]);
    town.pass(300);
    assert_eq!(town.sent(), ["boss: disk of db1 fires, critical (and 1 more)"], "graver alerts never wait longer than others");
}

#[test]
fn a_restart_keeps_the_sent_severity_and_graver_news() {
    let mut town = calm_town(Warning);
    town.pass(10);
    town.restart();
    town.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    town.pass(30);
    assert!(town.sent().is_empty(), "a message as grave was sent 40 s ago");
    town.judge("db1", &[("lag", Warning), ("disk", Warning), ("a", Critical)]);
    town.pass(20);
    town.restart();
    town.pass(10);
    assert!(town.sent().iter().any(|line| line == "ops: a of db1 fires, critical (and 1 more)"), "its wait goes on");
}

#[test]
fn a_clock_that_was_set_back_before_a_restart_keeps_nothing_grave_waiting() {
    let mut town = calm_town(Critical);
    town.pass(10);
    town.judge("db1", &[("lag", Critical), ("disk", Critical)]);
    town.now.wall_ms -= 3_600_000;
    town.restart();
    town.pass(30);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, critical (and 1 more)"], "the time of the other message is unknown");
}

#[test]
fn a_receiver_with_room_again_gets_its_alerts_soon() {
    let mut town = calm_town(Info);
    town.has_room = false;
    town.judge("db1", &[("lag", Info), ("disk", Critical)]);
    town.pass(30);
    assert_eq!(town.release().withheld.len(), 1);
    town.dispatcher.take_changes();
    town.pass(5);
    town.sent();
    assert!(town.dispatcher.take_changes().is_empty(), "to find that there is still no room costs the store nothing");
    town.has_room = true;
    town.pass(5);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, critical (and 1 more)"]);
}
