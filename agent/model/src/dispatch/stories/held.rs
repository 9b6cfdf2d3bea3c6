//! Reasons for holding an alert back, and what happens when they end.

use super::*;
use crate::dispatch::{Hold, Withheld};

fn reasons(release: &Release) -> Vec<(&str, &'static str, bool)> {
    let reason = |withheld: &'_ Withheld| (withheld.why.reason().as_str(), withheld.for_good);
    release.withheld.iter().map(|withheld| (withheld.receiver.as_str(), reason(withheld).0, reason(withheld).1)).collect()
}

#[test]
fn a_silenced_alert_is_sent_when_the_silence_ends() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.silence("s1", &["subject=db1"], 3_600);
    town.judge("db1", &[("lag", Warning)]);
    town.judge("db2", &[("lag", Warning)]);
    town.pass(30);
    let release = town.release();
    assert_eq!(release.rows.iter().map(line).collect::<Vec<_>>(), ["ops: lag of db2 fires, warning"]);
    assert_eq!(reasons(&release), [("ops", "silenced", false)]);
    assert_eq!(town.dispatcher.next_due(town.now), Some(town.now.monotonic + Duration::from_secs(3_570)), "the end of the silence");
    town.pass(3_570);
    assert_eq!(town.sent(), ["ops: lag of db1 fires, warning"]);
}

#[test]
fn an_expired_silence_releases_its_alerts_and_an_active_one_hides_their_end_too() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.silence("s1", &["rule=lag"], 3_600);
    town.silence("s2", &["rule=disk"], 3_600);
    town.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    town.pass(30);
    assert!(town.sent().is_empty());
    town.dispatcher.expire_silence("s1", town.now).expect("it is there");
    assert_eq!(town.sent(), ["ops: lag of db1 fires, warning"]);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(300);
    let release = town.release();
    assert_eq!((release.rows.len(), reasons(&release)), (0, vec![("ops", "silenced", true)]), "nobody heard it begin");
}

#[test]
fn an_end_is_sent_despite_silences_to_every_receiver_that_got_the_beginning() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(30);
    town.sent();
    town.silence("s1", &["rule=lag"], 360_000);
    town.judge("db1", &[("lag", Critical)]);
    town.pass(5 * 3_600);
    let release = town.release();
    assert_eq!((release.rows.len(), reasons(&release)), (0, vec![("ops", "silenced", false)]), "neither the change nor a reminder");
    town.judge("db1", &[]);
    town.pass(300);
    assert_eq!(town.sent(), ["ops: lag of db1 resolved, critical"]);
}

#[test]
fn an_unreachable_server_is_sent_alone() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(10);
    town.judge("db1", &[("lag", Warning), ("disk", Warning), ("server-down", Critical)]);
    town.pass(20);
    let release = town.release();
    assert_eq!(release.rows.iter().map(line).collect::<Vec<_>>(), ["ops: server-down of db1 fires, critical"]);
    assert_eq!(reasons(&release), [("ops", "inhibited", false), ("ops", "inhibited", false)]);
    // The server is back; one of its alerts still fires, the other ended with the outage.
    town.judge("db1", &[("disk", Warning)]);
    let release = town.release();
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
    let mut town = Town::new(vec![route(&[], "ops")]).with_inhibitions(vec![rule]);
    town.judge("db1", &[("disk", Warning), ("lag", Warning)]);
    town.judge("db2", &[("lag", Warning)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: disk of db1 fires, warning", "ops: lag of db2 fires, warning"]);
    let trace = town.dispatcher.explain(&alert("lag", "db1"), town.now);
    assert_eq!(trace.inhibited_by.map(|by| (by.rule, by.by)), Some(("disk".to_owned(), alert("disk", "db1").fingerprint)));
}

#[test]
fn a_receiver_far_behind_gets_its_alerts_when_it_has_room() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.has_room = false;
    town.judge("db1", &[("lag", Warning), ("disk", Warning)]);
    town.pass(30);
    let release = town.release();
    assert_eq!((release.rows.len(), reasons(&release)), (0, vec![("ops", "behind", false), ("ops", "behind", false)]));
    town.judge("db1", &[("disk", Warning)]);
    town.pass(300);
    assert_eq!(town.sent(), [""; 0]);
    town.has_room = true;
    town.pass(300);
    assert_eq!(
        town.sent(),
        ["ops: disk of db1 fires, warning", "ops: lag of db1 fires, warning", "ops: lag of db1 resolved, warning"],
        "also what ended meanwhile"
    );
}

#[test]
fn an_alert_that_was_never_sent_may_be_acknowledged_too() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    let fingerprint = alert("lag", "db1").fingerprint;
    town.dispatcher.acknowledge(fingerprint, "ann", "I see it", town.now).expect("it fires");
    town.pass(30);
    assert_eq!(reasons(&town.release()), [("ops", "acknowledged", false)]);
    town.dispatcher.unacknowledge(fingerprint).expect("it fires");
    assert_eq!(town.sent(), ["ops: lag of db1 fires, warning"]);
    assert!(town.dispatcher.acknowledge(alert("disk", "db1").fingerprint, "ann", "?", town.now).is_err(), "it does not fire");
    assert!(town.dispatcher.acknowledge(fingerprint, "", "?", town.now).is_err(), "nobody signed");
}

#[test]
fn an_alert_about_a_receiver_goes_to_another_one() {
    let mut troubled = alert("lag", "db1");
    troubled.subject = Subject::new("agent", "me");
    troubled.labels = vec![crate::subject::Label::new("receiver", "ops")];
    let receivers = |routes: Vec<Route>| {
        let routes = Town::new(routes).routes;
        routes.receivers(&troubled).into_iter().map(|(receiver, _)| receiver.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(receivers(vec![route(&[], "ops")]), ["pager"], "the first other receiver, when every route leads to the one in trouble");
    assert_eq!(receivers(vec![route(&[], "ops"), route(&[], "boss")]), ["boss"]);
    assert_eq!(receivers(vec![route(&["rule=disk"], "ops")]), [""; 0], "an alert without a route is sent to no receiver");
}

#[test]
fn the_trace_shows_each_decision_with_its_reason() {
    let mut town = Town::new(vec![route(&["severity=critical"], "pager"), route(&["kind=postgres"], "ops"), route(&[], "boss")]);
    town.silence("s1", &["rule=lag"], 3_600);
    town.judge("db1", &[("lag", Warning)]);
    town.pass(30);
    town.sent();
    let trace = town.dispatcher.explain(&alert("lag", "db1"), town.now);
    let routes: Vec<_> = trace.routes.iter().map(|route| (route.receiver.as_str(), route.why.as_deref())).collect();
    assert_eq!(
        routes,
        [
            ("pager", Some("it wants severity=\"critical\", but severity is \"warning\"")),
            ("ops", None),
            ("boss", Some("a route before it took the alert and does not continue"))
        ]
    );
    let receiver = &trace.receivers[0];
    assert_eq!((receiver.receiver.as_str(), receiver.sent.is_none()), ("ops", true));
    assert_eq!(receiver.held.as_deref(), Some("silenced by ann (s1): maintenance"));
    assert_eq!(trace.silences[0].id, "s1");
    assert!(matches!(
        town.dispatcher.export().entries[0].hold,
        Some(Hold::Silenced { until_ms, .. }) if until_ms == WALL_MS + 3_600_000
    ));
}

#[test]
fn a_clock_that_goes_back_does_not_bring_a_silence_back() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.silence("s1", &["rule=lag"], 60);
    town.pass(60);
    town.sent();
    town.now.wall_ms -= 3_600_000;
    town.judge("db1", &[("lag", Warning)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: lag of db1 fires, warning"]);
}

#[test]
fn a_clock_that_goes_back_before_a_silence_began_frees_what_it_held() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.judge("db1", &[("lag", Warning)]);
    town.silence("s1", &["rule=lag"], 60);
    town.pass(30);
    assert!(town.sent().is_empty());
    town.now.wall_ms -= 3_600_000;
    assert_eq!(town.sent(), ["ops: lag of db1 fires, warning"], "by its clock the silence begins in an hour");
}

#[test]
fn silences_have_a_bound_and_the_oldest_that_is_over_makes_room() {
    let mut town = Town::new(vec![]);
    for number in 0..super::super::SILENCES_MAX {
        town.silence(&format!("s{number:04}"), &["rule=lag"], 60 + number as u64);
    }
    let one_more = Silence { id: "x".to_owned(), ..town.dispatcher.silences().next().expect("there are some").clone() };
    let refused = town.dispatcher.silence(Silence { ends_at_ms: town.now.wall_ms + 1, ..one_more.clone() }, town.now);
    assert_eq!(refused, Err(crate::dispatch::SilenceError::TooMany));
    town.pass(60);
    town.sent();
    town.dispatcher.silence(Silence { ends_at_ms: town.now.wall_ms + 1, ..one_more }, town.now).expect("there is room");
    assert!(town.dispatcher.silences().all(|silence| silence.id != "s0000"));
}

#[test]
fn silences_take_only_so_much_memory_and_those_that_are_over_make_room() {
    let mut town = Town::new(vec![]);
    let large = format!("rule=~{}", r"[\w.-]+".repeat(3));
    let mut number = 0;
    let refused = loop {
        let silence = Silence {
            id: format!("s{number:04}"),
            matchers: Matchers((0..4).map(|_| large.parse().expect("it is small enough alone")).collect()),
            starts_at_ms: town.now.wall_ms,
            ends_at_ms: town.now.wall_ms + 60_000,
            author: "ann".to_owned(),
            comment: "maintenance".to_owned(),
            created_at_ms: town.now.wall_ms,
            over: false,
            configured: false,
        };
        match town.dispatcher.silence(silence, town.now) {
            Ok(()) => number += 1,
            Err(err) => break err,
        }
    };
    assert_eq!(refused, crate::dispatch::SilenceError::TooLarge);
    assert!(number > 3, "{number}");
    // A restart compiles the silences again, within the same memory.
    town.restart();
    assert!(town.dispatcher.silences().all(|silence| silence.matchers.problem().is_none()));
    town.pass(60);
    town.sent();
    town.silence("one-more", &[&large], 60);
}

#[test]
fn a_stored_silence_that_finds_no_room_hides_nothing_and_the_others_hold() {
    let mut town = Town::new(vec![route(&[], "ops")]);
    town.silence("a", &["rule=lag"], 600);
    town.silence("a2", &["rule=~disk"], 600);
    let (book, mut saved) = town.export();
    let large = serde_json::Value::from(vec![r"rule=~(\pL|\pN){3}"; 50]);
    for number in 0..200 {
        let mut silence = saved.silences[0].clone();
        silence.id = format!("b{number:03}");
        silence.matchers = serde_json::from_value(large.clone()).expect("its form is right");
        saved.silences.push(silence);
    }
    saved.silences.sort_by(|a, b| a.id.cmp(&b.id));
    town.restart_with((book, saved));
    let problems = town.dispatcher.silences().filter(|silence| silence.matchers.problem().is_some()).count();
    assert_eq!(problems, 200, "and the small one has its room");
    assert_eq!(town.dispatcher.silences().count(), 202, "all are kept");
    town.judge("db1", &[("lag", Warning), ("disk", Warning), ("a", Warning)]);
    town.pass(30);
    assert_eq!(town.sent(), ["ops: a of db1 fires, warning"]);
}
