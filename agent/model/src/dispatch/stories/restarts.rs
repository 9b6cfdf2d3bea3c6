//! After a restart the agent continues: it repeats no notification and loses none.

use super::*;
use crate::dispatch::{Dispatcher, Hold};

#[test]
fn no_notification_is_repeated_or_lost() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(30);
    town.sent();
    town.silence("s1", &["rule=disk"], 3_600);
    town.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    town.judge("db2", &[("lag", Warning)]);
    town.pass(10);
    town.restart();
    assert!(town.sent().is_empty(), "the wait of the other group is not over");
    town.pass(20);
    assert_eq!(town.sent(), ["ops: lag of db2 fires, warning"]);
    town.restart();
    town.pass(280);
    assert!(town.sent().is_empty(), "it is silenced");
    town.restart();
    town.pass(3_600 - 310);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, warning (and 1 more)"]);
    town.restart();
    town.judge("db1", &[]);
    town.pass(300);
    assert_eq!(town.sent(), ["ops: disk of db1 resolved, warning", "ops: lag of db1 resolved, warning"]);
}

#[test]
fn reminders_are_due_at_the_same_time_as_before() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(30);
    town.sent();
    town.pass(3 * 3_600);
    town.restart();
    town.pass(3_599);
    assert!(town.sent().is_empty());
    town.pass(1);
    assert_eq!(town.sent(), ["ops: lag of db1 still fires, warning"]);
    town.restart();
    town.now.wall_ms += 315_360_000_000;
    assert!(town.sent().is_empty(), "a clock that jumps ten years ahead while we run changes nothing");
}

#[test]
fn an_acknowledgement_outlives_the_process() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(30);
    town.sent();
    let fingerprint = alert("lag", "db1").fingerprint;
    town.dispatcher.acknowledge(fingerprint, "ann", "on it", town.now).expect("it fires");
    town.restart();
    town.pass(5 * 3_600);
    assert!(town.sent().is_empty());
    assert_eq!(town.dispatcher.explain(&alert("lag", "db1"), town.now).acknowledgement.map(|word| word.author), Some("ann".to_owned()));
}

#[test]
fn a_waiting_end_is_sent_after_the_restart() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(5);
    town.judge("db1", &[]);
    town.restart();
    town.pass(30);
    assert_eq!(town.sent(), ["ops: lag of db1 fires, warning", "ops: lag of db1 resolved, warning"]);
}

#[test]
fn new_routes_send_to_their_receivers_and_old_receivers_get_the_end() {
    let mut town = Town::new(vec![route(&[], "ops"), route(&["rule=disk"], "boss")]);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(30);
    town.sent();
    town.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    town.routes.routes = vec![route(&[], "pager"), route(&["rule=nothing"], "ops")];
    town.restart();
    town.pass(30);
    assert_eq!(town.sent(), ["pager: disk of db1 fires, warning", "pager: lag of db1 fires, warning"]);
    town.judge("db1", &[]);
    town.pass(300);
    assert_eq!(
        town.sent(),
        ["ops: lag of db1 resolved, warning", "pager: disk of db1 resolved, warning", "pager: lag of db1 resolved, warning"]
    );
}

#[test]
fn a_receiver_without_a_route_is_reported() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    let saved = town.dispatcher.export();
    let nobody = Routes { routes: vec![], receivers: vec![] };
    let mut dispatcher = Dispatcher::new(nobody, vec![], vec![]);
    let withheld = dispatcher.restore(saved, &town.book, town.now);
    assert_eq!(withheld.iter().map(|withheld| (withheld.why.clone(), withheld.for_good)).collect::<Vec<_>>(), [(Hold::Unrouted, true)]);
    assert_eq!(dispatcher.take_changes().removed.len(), 1, "it leaves the store");
}

#[test]
fn changes_are_pending_until_the_store_accepts_them() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.silence("s1", &["rule=disk"], 60);
    let lost = town.dispatcher.take_changes();
    assert_eq!((lost.entries.len(), lost.silences.len(), lost.removed.len()), (1, 1, 0));
    assert!(town.dispatcher.take_changes().is_empty());
    town.pass(30);
    town.sent();
    town.dispatcher.give_back(lost);
    let changes = town.dispatcher.take_changes();
    assert_eq!((changes.entries.len(), changes.silences.len()), (1, 1));
    assert!(changes.entries[0].sent.is_some(), "as it is by now");
    town.judge("db1", &[]);
    town.pass(300);
    town.sent();
    assert_eq!(town.dispatcher.take_changes().removed.len(), 1);
}
