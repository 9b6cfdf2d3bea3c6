//! Graphs in one line, with forests as text. Random graphs are compared with the definition of waiting.

use std::fmt::Write;

use expect_test::{Expect, expect};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// `12<-10,11` waits for 10 and 11; `13(12)<-9` is a parallel worker of 12.
fn parse(text: &str) -> Vec<Waiting> {
    let waiting = |edge: &str| {
        let (waiter, blockers) = edge.split_once("<-").unwrap();
        let (pid, leader) = waiter.split_once('(').unwrap_or((waiter, ""));
        Waiting {
            pid: pid.parse().unwrap(),
            leader_pid: leader.strip_suffix(')').map(|leader| leader.parse().unwrap()),
            blocked_by: blockers.split(',').map(|pid| pid.parse().unwrap()).collect(),
        }
    };
    text.split_whitespace().map(waiting).collect()
}

fn check(edges: &str, expected: Expect) {
    let forest = LockForest::new(parse(edges));
    let mut text = String::new();
    for Root { blocker, victims, depth, deadlock } in &forest.roots {
        let deadlock = if deadlock.is_empty() { String::new() } else { format!(", deadlock of {deadlock:?}") };
        writeln!(text, "{blocker}: {victims} victims, {depth} deep{deadlock}").unwrap();
    }
    for Waiter { pid, roots, depth, .. } in &forest.waiters {
        let roots: Vec<String> = roots.iter().map(ToString::to_string).collect();
        writeln!(text, "{pid} at depth {depth} of {}", roots.join(", ")).unwrap();
    }
    expected.assert_eq(&text);
}

#[test]
fn a_queue_behind_one_holder_is_one_tree() {
    // A single queue: the second waiter waits for the first one and for the holder.
    check(
        "11<-10 12<-10,11 13<-12",
        expect![[r#"
        10: 3 victims, 3 deep
        11 at depth 1 of 10
        12 at depth 2 of 10
        13 at depth 3 of 10
    "#]],
    );
}

#[test]
fn a_prepared_transaction_can_be_a_root() {
    check(
        "11<-0 12<-11",
        expect![[r#"
        prepared transaction: 2 victims, 2 deep
        11 at depth 1 of prepared transaction
        12 at depth 2 of prepared transaction
    "#]],
    );
}

#[test]
fn a_parallel_query_is_one_waiter() {
    check(
        "20<-10 21(20)<-10 22(20)<-10,20 30<-22",
        expect![[r#"
        10: 2 victims, 2 deep
        20 at depth 1 of 10
        30 at depth 2 of 10
    "#]],
    );
}

#[test]
fn a_session_that_waits_for_two_roots_counts_under_both() {
    check(
        "11<-1,2 12<-11 13<-2",
        expect![[r#"
        2: 3 victims, 2 deep
        1: 2 victims, 2 deep
        11 at depth 1 of 1, 2
        12 at depth 2 of 1, 2
        13 at depth 1 of 2
    "#]],
    );
}

#[test]
fn a_deadlock_is_a_root_of_its_own() {
    check(
        "5<-6 6<-5 7<-6 8<-7,1",
        expect![[r#"
            5: 3 victims, 2 deep, deadlock of [5, 6]
            1: 1 victims, 1 deep
            5 at depth 0 of 5
            6 at depth 0 of 5
            7 at depth 1 of 5
            8 at depth 2 of 1, 5
        "#]],
    );
    // A circle waits for another circle and for an ordinary root. Its own members do not count as its victims again.
    check(
        "5<-6 6<-5,8 8<-9 9<-8,1",
        expect![[r#"
            1: 4 victims, 2 deep
            8: 3 victims, 1 deep, deadlock of [8, 9]
            5: 1 victims, 0 deep, deadlock of [5, 6]
            5 at depth 2 of 1, 5, 8
            6 at depth 2 of 1, 5, 8
            8 at depth 1 of 1, 8
            9 at depth 1 of 1, 8
        "#]],
    );
    check("5<-5", expect![[""]]);
}

fn any_waiting() -> impl Strategy<Value = Vec<Waiting>> {
    let waiting = (1..12_i32, prop::option::weighted(0.2, 1..12_i32), vec(0..12_i32, 0..4));
    vec(waiting.prop_map(|(pid, leader_pid, blocked_by)| Waiting { pid, leader_pid, blocked_by }), 0..15)
}

/// Returns true if one session has to wait for another, by the definition alone.
fn waits_for(forest: &LockForest, waiter: Blocker, other: Blocker) -> bool {
    let mut known = BTreeSet::from([waiter]);
    loop {
        let direct = forest.waiters.iter().filter(|waiter| known.contains(&Blocker::Session(waiter.pid)));
        let more: BTreeSet<Blocker> = direct.flat_map(|waiter| waiter.blocked_by.clone()).chain(known.clone()).collect();
        if more == known {
            return known.contains(&other);
        }
        known = more;
    }
}

proptest! {
    #[test]
    fn the_roots_of_a_waiter_are_those_it_has_to_wait_for(waiting in any_waiting()) {
        let forest = LockForest::new(waiting);
        for waiter in &forest.waiters {
            prop_assert!(!waiter.roots.is_empty() && waiter.depth <= forest.waiters.len());
            for root in &forest.roots {
                let waits = waits_for(&forest, Blocker::Session(waiter.pid), root.blocker);
                prop_assert_eq!(waiter.roots.contains(&root.blocker), waits, "{} for {}", waiter.pid, root.blocker);
            }
        }
        for root in &forest.roots {
            let victim = |waiter: &&Waiter| waiter.roots.contains(&root.blocker) && Blocker::Session(waiter.pid) != root.blocker;
            prop_assert_eq!(forest.waiters.iter().filter(victim).count(), root.victims);
            prop_assert!(root.victims > 0);
        }
    }
}
