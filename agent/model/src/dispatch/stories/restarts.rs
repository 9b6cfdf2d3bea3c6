//! After a restart the agent continues: it repeats no notification and loses none.

use super::*;
use crate::dispatch::{Dispatcher, Hold};

#[test]
fn no_notification_is_repeated_or_lost() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    story.sent();
    story.silence("s1", &["rule=disk"], 3_600);
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.judge("db2", &[("lag", Warning)]);
    story.pass(10);
    story.restart();
    assert!(story.sent().is_empty(), "the wait of the other group is not over");
    story.pass(20);
    assert_eq!(story.sent(), ["ops: lag of db2 fires, warning"]);
    story.restart();
    story.pass(280);
    assert!(story.sent().is_empty(), "it is silenced");
    story.restart();
    story.pass(3_600 - 310);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, warning (and 1 more)"]);
    story.restart();
    story.judge("db1", &[]);
    story.pass(300);
    assert_eq!(story.sent(), ["ops: disk of db1 resolved, warning", "ops: lag of db1 resolved, warning"]);
}

#[test]
fn reminders_are_due_at_the_same_time_as_before() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    story.sent();
    story.pass(3 * 3_600);
    story.restart();
    story.pass(3_599);
    assert!(story.sent().is_empty());
    story.pass(1);
    assert_eq!(story.sent(), ["ops: lag of db1 still fires, warning"]);
    story.restart();
    story.now.wall_ms += 315_360_000_000;
    assert!(story.sent().is_empty(), "a clock that jumps ten years ahead while we run changes nothing");
}

#[test]
fn an_acknowledgement_outlives_the_process() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    story.sent();
    let fingerprint = alert("lag", "db1").fingerprint;
    story.dispatcher.acknowledge(fingerprint, "ann", "on it", story.now).expect("it fires");
    story.restart();
    story.pass(5 * 3_600);
    assert!(story.sent().is_empty());
    assert_eq!(story.dispatcher.explain(&alert("lag", "db1"), story.now).acknowledgement.map(|word| word.author), Some("ann".to_owned()));
}

#[test]
fn a_waiting_end_is_sent_after_the_restart() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(5);
    story.judge("db1", &[]);
    story.restart();
    story.pass(30);
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning", "ops: lag of db1 resolved, warning"]);
}

#[test]
fn new_routes_send_to_their_receivers_and_old_receivers_get_the_end() {
    let mut story = Story::new(vec![route(&[], "ops"), route(&["rule=disk"], "boss")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    story.sent();
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.routes.routes = vec![route(&[], "pager"), route(&["rule=nothing"], "ops")];
    story.restart();
    story.pass(30);
    assert_eq!(story.sent(), ["pager: disk of db1 fires, warning", "pager: lag of db1 fires, warning"]);
    story.judge("db1", &[]);
    story.pass(300);
    assert_eq!(
        story.sent(),
        ["ops: lag of db1 resolved, warning", "pager: disk of db1 resolved, warning", "pager: lag of db1 resolved, warning"]
    );
}

#[test]
fn a_receiver_without_a_route_is_reported() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    let saved = story.dispatcher.export();
    let no_routes = Routes { routes: vec![], receivers: vec![] };
    let mut dispatcher = Dispatcher::new(no_routes, vec![], vec![]);
    let withheld = dispatcher.restore(saved, &story.book, story.now);
    assert_eq!(withheld.iter().map(|withheld| (withheld.why.clone(), withheld.for_good)).collect::<Vec<_>>(), [(Hold::Unrouted, true)]);
    assert_eq!(dispatcher.take_changes().removed.len(), 1, "it leaves the store");
}

#[test]
fn changes_are_pending_until_the_store_accepts_them() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.silence("s1", &["rule=disk"], 60);
    let lost = story.dispatcher.take_changes();
    assert_eq!((lost.entries.len(), lost.silences.len(), lost.removed.len()), (1, 1, 0));
    assert!(story.dispatcher.take_changes().is_empty());
    story.pass(30);
    story.sent();
    story.dispatcher.give_back(lost);
    let changes = story.dispatcher.take_changes();
    assert_eq!((changes.entries.len(), changes.silences.len()), (1, 1));
    assert!(changes.entries[0].sent.is_some(), "as it is by now");
    story.judge("db1", &[]);
    story.pass(300);
    story.sent();
    assert_eq!(story.dispatcher.take_changes().removed.len(), 1);
}
