//! Reasons for holding an alert back, and what happens when they end.

use super::*;
use crate::dispatch::{Hold, Withheld};

fn reasons(release: &Release) -> Vec<(&str, &'static str, bool)> {
    let reason = |withheld: &'_ Withheld| (withheld.why.reason().as_str(), withheld.for_good);
    release.withheld.iter().map(|withheld| (withheld.receiver.as_str(), reason(withheld).0, reason(withheld).1)).collect()
}

#[test]
fn a_silenced_alert_is_sent_when_the_silence_ends() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.silence("s1", &["subject=db1"], 3_600);
    story.judge("db1", &[("lag", Warning)]);
    story.judge("db2", &[("lag", Warning)]);
    story.pass(30);
    let release = story.release();
    assert_eq!(release.rows.iter().map(line).collect::<Vec<_>>(), ["ops: lag of db2 fires, warning"]);
    assert_eq!(reasons(&release), [("ops", "silenced", false)]);
    assert_eq!(story.dispatcher.next_due(story.now), Some(story.now.monotonic + Duration::from_secs(3_570)), "the end of the silence");
    story.pass(3_570);
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning"]);
}

#[test]
fn an_expired_silence_releases_its_alerts_and_an_active_one_hides_their_end_too() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.silence("s1", &["rule=lag"], 3_600);
    story.silence("s2", &["rule=disk"], 3_600);
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.pass(30);
    assert!(story.sent().is_empty());
    story.dispatcher.expire_silence("s1", story.now).expect("it is there");
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning"]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(300);
    let release = story.release();
    assert_eq!((release.rows.len(), reasons(&release)), (0, vec![("ops", "silenced", true)]), "its beginning was never sent");
}

#[test]
fn an_end_is_sent_despite_silences_to_every_receiver_that_got_the_beginning() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    story.sent();
    story.silence("s1", &["rule=lag"], 360_000);
    story.judge("db1", &[("lag", Critical)]);
    story.pass(5 * 3_600);
    let release = story.release();
    assert_eq!((release.rows.len(), reasons(&release)), (0, vec![("ops", "silenced", false)]), "neither the change nor a reminder");
    story.judge("db1", &[]);
    story.pass(300);
    assert_eq!(story.sent(), ["ops: lag of db1 resolved, critical"]);
}

#[test]
fn an_unreachable_server_is_sent_alone() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(10);
    story.judge("db1", &[("lag", Warning), ("disk", Warning), ("server-down", Critical)]);
    story.pass(20);
    let release = story.release();
    assert_eq!(release.rows.iter().map(line).collect::<Vec<_>>(), ["ops: server-down of db1 fires, critical"]);
    assert_eq!(reasons(&release), [("ops", "inhibited", false), ("ops", "inhibited", false)]);
    // The server is back; one of its alerts still fires, the other ended with the outage.
    story.judge("db1", &[("disk", Warning)]);
    let release = story.release();
    assert_eq!(
        release.rows.iter().map(line).collect::<Vec<_>>(),
        ["ops: server-down of db1 resolved, critical", "ops: disk of db1 fires, warning"]
    );
    assert_eq!(reasons(&release), [("ops", "inhibited", true)], "an alert that it explained to its end is not sent");
}

#[test]
fn configured_inhibitions_require_equal_labels() {
    let matchers = |text: &str| Matchers(vec![text.parse().expect("right")]);
    let rule = Inhibition {
        name: "disk".to_owned(),
        source: matchers("rule=disk"),
        target: matchers("rule=lag"),
        equal: vec!["subject".to_owned()],
        needs_proof: false,
    };
    let mut story = Story::new(vec![route(&[], "ops")]).with_inhibitions(vec![rule]);
    story.judge("db1", &[("disk", Warning), ("lag", Warning)]);
    story.judge("db2", &[("lag", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: disk of db1 fires, warning", "ops: lag of db2 fires, warning"]);
    let trace = story.dispatcher.explain(&alert("lag", "db1"), story.now);
    assert_eq!(trace.inhibited_by.map(|by| (by.rule, by.by)), Some(("disk".to_owned(), alert("disk", "db1").fingerprint)));
}

#[test]
fn a_receiver_far_behind_gets_its_alerts_when_it_has_room() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.has_room = false;
    story.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    story.pass(30);
    let release = story.release();
    assert_eq!((release.rows.len(), reasons(&release)), (0, vec![("ops", "behind", false), ("ops", "behind", false)]));
    story.judge("db1", &[("disk", Warning)]);
    story.pass(300);
    assert_eq!(story.sent(), [""; 0]);
    story.has_room = true;
    story.pass(300);
    assert_eq!(
        story.sent(),
        ["ops: disk of db1 fires, warning", "ops: lag of db1 fires, warning", "ops: lag of db1 resolved, warning"],
        "also what ended meanwhile"
    );
}

#[test]
fn an_alert_that_was_never_sent_may_be_acknowledged_too() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    let fingerprint = alert("lag", "db1").fingerprint;
    story.dispatcher.acknowledge(fingerprint, "ann", "I see it", story.now).expect("it fires");
    story.pass(30);
    assert_eq!(reasons(&story.release()), [("ops", "acknowledged", false)]);
    story.dispatcher.unacknowledge(fingerprint).expect("it fires");
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning"]);
    assert!(story.dispatcher.acknowledge(alert("disk", "db1").fingerprint, "ann", "?", story.now).is_err(), "it does not fire");
    assert!(story.dispatcher.acknowledge(fingerprint, "", "?", story.now).is_err(), "the author is missing");
}

#[test]
fn an_alert_about_a_receiver_is_sent_to_another_receiver() {
    let mut troubled = alert("lag", "db1");
    troubled.subject = Subject::new("agent", "me");
    troubled.labels = vec![crate::subject::Label::new("receiver", "ops")];
    let receivers = |routes: Vec<Route>| {
        let routes = Story::new(routes).routes;
        routes.receivers(&troubled).into_iter().map(|(receiver, _)| receiver.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(receivers(vec![route(&[], "ops")]), ["pager"], "the first other receiver, when every route leads to the one in trouble");
    assert_eq!(receivers(vec![route(&[], "ops"), route(&[], "boss")]), ["boss"]);
    assert_eq!(receivers(vec![route(&["rule=disk"], "ops")]), [""; 0], "an alert without a route is sent to no receiver");
}

#[test]
fn the_trace_shows_each_decision_with_its_reason() {
    let mut story = Story::new(vec![route(&["severity=critical"], "pager"), route(&["kind=postgres"], "ops"), route(&[], "boss")]);
    story.silence("s1", &["rule=lag"], 3_600);
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    story.sent();
    let trace = story.dispatcher.explain(&alert("lag", "db1"), story.now);
    let routes: Vec<_> = trace.routes.iter().map(|route| (route.receiver.as_str(), route.why.as_deref())).collect();
    assert_eq!(
        routes,
        [
            ("pager", Some("it requires severity=\"critical\", but severity is \"warning\"")),
            ("ops", None),
            ("boss", Some("a route before it took the alert and does not continue"))
        ]
    );
    let receiver = &trace.receivers[0];
    assert_eq!((receiver.receiver.as_str(), receiver.sent.is_none()), ("ops", true));
    assert_eq!(receiver.held.as_deref(), Some("silenced by ann (s1): maintenance"));
    assert_eq!(trace.silences[0].id, "s1");
    assert!(matches!(
        story.dispatcher.export().entries[0].hold,
        Some(Hold::Silenced { until_ms, .. }) if until_ms == WALL_MS + 3_600_000
    ));
}

#[test]
fn a_clock_that_is_set_back_does_not_start_a_silence_again() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.silence("s1", &["rule=lag"], 60);
    story.pass(60);
    story.sent();
    story.now.wall_ms -= 3_600_000;
    story.judge("db1", &[("lag", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning"]);
}

#[test]
fn a_clock_that_is_set_back_before_a_silence_releases_its_alerts() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.judge("db1", &[("lag", Warning)]);
    story.silence("s1", &["rule=lag"], 60);
    story.pass(30);
    assert!(story.sent().is_empty());
    story.now.wall_ms -= 3_600_000;
    assert_eq!(story.sent(), ["ops: lag of db1 fires, warning"], "by its clock the silence begins in an hour");
}

#[test]
fn silences_have_a_bound_and_the_oldest_that_is_over_makes_room() {
    let mut story = Story::new(vec![]);
    for number in 0..super::super::SILENCES_MAX {
        story.silence(&format!("s{number:04}"), &["rule=lag"], 60 + number as u64);
    }
    let one_more = Silence { id: "x".to_owned(), ..story.dispatcher.silences().next().expect("there are some").clone() };
    let refused = story.dispatcher.silence(Silence { ends_at_ms: story.now.wall_ms + 1, ..one_more.clone() }, story.now);
    assert_eq!(refused, Err(crate::dispatch::SilenceError::TooMany));
    story.pass(60);
    story.sent();
    story.dispatcher.silence(Silence { ends_at_ms: story.now.wall_ms + 1, ..one_more }, story.now).expect("there is room");
    assert!(story.dispatcher.silences().all(|silence| silence.id != "s0000"));
}

#[test]
fn silences_take_only_so_much_memory_and_those_that_are_over_make_room() {
    let mut story = Story::new(vec![]);
    let large = format!("rule=~{}", r"[\w.-]+".repeat(3));
    let mut number = 0;
    let refused = loop {
        let silence = Silence {
            id: format!("s{number:04}"),
            matchers: Matchers((0..4).map(|_| large.parse().expect("it is small enough alone")).collect()),
            starts_at_ms: story.now.wall_ms,
            ends_at_ms: story.now.wall_ms + 60_000,
            author: "ann".to_owned(),
            comment: "maintenance".to_owned(),
            created_at_ms: story.now.wall_ms,
            over: false,
            configured: false,
        };
        match story.dispatcher.silence(silence, story.now) {
            Ok(()) => number += 1,
            Err(err) => break err,
        }
    };
    assert_eq!(refused, crate::dispatch::SilenceError::TooLarge);
    assert!(number > 3, "{number}");
    // A restart compiles the silences again, within the same memory.
    story.restart();
    assert!(story.dispatcher.silences().all(|silence| silence.matchers.problem().is_none()));
    story.pass(60);
    story.sent();
    story.silence("one-more", &[&large], 60);
}

#[test]
fn a_stored_silence_that_finds_no_room_hides_nothing_and_the_others_hold() {
    let mut story = Story::new(vec![route(&[], "ops")]);
    story.silence("a", &["rule=lag"], 600);
    story.silence("a2", &["rule=~disk"], 600);
    let (book, mut saved) = story.export();
    let large = serde_json::Value::from(vec![r"rule=~(\pL|\pN){3}"; 50]);
    for number in 0..200 {
        let mut silence = saved.silences[0].clone();
        silence.id = format!("b{number:03}");
        silence.matchers = serde_json::from_value(large.clone()).expect("its form is right");
        saved.silences.push(silence);
    }
    saved.silences.sort_by(|a, b| a.id.cmp(&b.id));
    story.restart_with((book, saved));
    let problems = story.dispatcher.silences().filter(|silence| silence.matchers.problem().is_some()).count();
    assert_eq!(problems, 200, "and the small one has its room");
    assert_eq!(story.dispatcher.silences().count(), 202, "all are kept");
    story.judge("db1", &[("lag", Warning), ("disk", Warning), ("a", Warning)]);
    story.pass(30);
    assert_eq!(story.sent(), ["ops: a of db1 fires, warning"]);
}
