//! States of a database with two or three servers, one reading per line.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::alert::Now;
use crate::postgres::lsn_history::Course;

/// Reads a server from text. `a:primary/1@100` writes on timeline 1 at LSN 100. `b:standby/1@90` has replayed 90, and `b:standby/1@90+95`
/// has received 95. `c:down` cannot be reached, and `c:mute` cannot be read. `x/` before the role is another cluster than `one`.
/// `v:a=primary/1@100` is the server `a`, listed under a second name.
fn report(text: &str, at: Duration) -> Report {
    let (member, rest) = text.split_once(':').unwrap();
    let (up, rest) = match rest {
        "down" => (false, None),
        "mute" => (true, None),
        rest => (true, Some(rest)),
    };
    let identity = rest.map(|rest| {
        let (server, rest) = rest.split_once('=').unwrap_or((member, rest));
        let (who, place) = rest.split_once('@').unwrap();
        let parts: Vec<&str> = who.split('/').collect();
        let (cluster, role, timeline) = match parts[..] {
            [role, timeline] => ("one", role, timeline),
            [cluster, role, timeline] => (cluster, role, timeline),
            _ => panic!("{text}"),
        };
        let (lsn, received) = place.split_once('+').map_or((place, place), |(lsn, received)| (lsn, received));
        Identity {
            at,
            system_identifier: Some(cluster.to_owned()),
            in_recovery: role == "standby",
            course: Course {
                epoch: server.bytes().fold(0, |epoch, byte| epoch * 256 + u64::from(byte)),
                timeline: timeline.parse().unwrap(),
            },
            lsn: Some(lsn.parse().unwrap()),
            received_lsn: (role == "standby").then(|| received.parse().unwrap()),
        }
    });
    Report { member: member.to_owned(), up, identity, is_asked: true }
}

fn shown(picture: &TopologyState) -> String {
    let members = picture.members.iter().map(|member| {
        let state = if member.up { "" } else { " (down)" };
        let same = picture.same_as(member).map_or(String::new(), |same| format!(" = {same}"));
        let time =
            member.lag.time.map_or(String::new(), |time| format!(" {}{}s", if time.is_minimum { ">=" } else { "" }, time.by.as_secs_f64()));
        let lag = member.lag.bytes.map_or(String::new(), |bytes| format!(" -{bytes}"));
        format!("{}{same} {}{state}{lag}{time}", member.name, member.role.as_str())
    });
    let members: Vec<String> = members.collect();
    let news: String = picture.news.iter().map(|news| format!(" ! {news}")).collect();
    let primary = picture.primary.as_deref().unwrap_or("none");
    let servers = match picture.primaries() {
        Some(0 | 1) => String::new(),
        Some(several) => format!(" {several} write"),
        None => " number of writers unknown".to_owned(),
    };
    let undecided = if picture.is_split_known { "" } else { " perhaps at once" };
    format!("{primary} of {}, {} changes | {}{servers}{undecided}{news}\n", picture.clusters, picture.primary_changes, members.join(", "))
}

/// Each line is a reading, ten seconds after the one before. Each member is read a second after the one before it.
fn check(readings: &str, expected: Expect) {
    let mut topology = Topology::default();
    let mut text = String::new();
    let mut last: BTreeMap<String, (String, Duration)> = BTreeMap::new();
    let mut unasked = BTreeSet::new();
    for (index, line) in readings.trim().lines().enumerate() {
        let begin = Duration::from_secs(index as u64 * 10);
        for (place, word) in line.split_whitespace().enumerate() {
            let name = word.split_once(':').unwrap().0.to_owned();
            // `a:.` was not asked again, so its last report is valid. `a:?` could not be asked.
            if word.ends_with(":?") {
                unasked.insert(name);
            } else if !word.ends_with(":.") {
                unasked.remove(&name);
                last.insert(name, (word.to_owned(), begin + Duration::from_secs(place as u64)));
            }
        }
        let is_asked = |name: &String| !unasked.contains(name);
        let reports: Vec<Report> = last.iter().map(|(name, (word, at))| Report { is_asked: is_asked(name), ..report(word, *at) }).collect();
        let now = begin + Duration::from_secs(5);
        text.push_str(&shown(&topology.observe(&reports, Now { monotonic: now, wall_ms: now.as_millis() as u64 })));
    }
    expected.assert_eq(&text);
}

#[test]
fn a_promotion_is_followed_and_the_old_primary_that_returns_is_a_split_brain() {
    check(
        "
        a:primary/1@100 b:standby/1@100
        a:down b:standby/1@100
        a:down b:primary/2@120
        a:primary/1@110 b:primary/2@150
        a:down b:primary/2@160
        a:standby/2@170 b:primary/2@170
        ",
        expect![[r#"
            a of 1, 0 changes | a primary, b standby -0 0s
            none of 1, 0 changes | a primary (down), b standby -0 0s
            b of 1, 1 changes | a primary (down), b primary ! the primary is now `b`, no longer `a`
            b of 1, 1 changes | a primary, b primary 2 write ! split brain: `a` and `b` write to one cluster at the same time
            b of 1, 1 changes | a primary (down), b primary ! the split brain is over
            b of 1, 1 changes | a standby -0 0s, b primary
        "#]],
    );
}

#[test]
fn a_switchover_is_no_split_brain_despite_the_old_primarys_last_report() {
    check(
        "
        a:primary/1@100 b:standby/1@100
        a:. b:primary/2@110
        a:standby/2@110 b:primary/2@110
        a:standby/2@110 b:primary/2@300
        ",
        expect![[r#"
            a of 1, 0 changes | a primary, b standby -0 0s
            b of 1, 1 changes | a primary, b primary 2 write perhaps at once ! the primary is now `b`, no longer `a`
            b of 1, 1 changes | a standby -0 0s, b primary
            b of 1, 1 changes | a standby -171 9s, b primary
        "#]],
    );
}

#[test]
fn two_writers_on_one_timeline_are_reported_and_the_followed_one_stays_the_primary() {
    check(
        "
        a:standby/1@100 b:primary/1@100 c:standby/1@100
        a:primary/2@110 b:down c:primary/2@120
        a:primary/2@120 b:down c:primary/2@130
        a:down b:down c:primary/2@140
        ",
        expect![[r#"
            b of 1, 0 changes | a standby -0 0s, b primary, c standby -0 0s
            c of 1, 1 changes | a primary, b primary (down), c primary 2 write perhaps at once ! the primary is now `c`, no longer `b`
            c of 1, 1 changes | a primary, b primary (down), c primary 2 write ! split brain: `a` and `c` write to one cluster at the same time
            c of 1, 1 changes | a primary (down), b primary (down), c primary ! the split brain is over
        "#]],
    );
}

#[test]
fn a_standby_that_stopped_lags_in_time_only_while_the_primary_writes() {
    check(
        "
        a:primary/1@1000 b:standby/1@1000
        a:primary/1@2000 b:standby/1@1000
        a:primary/1@3000 b:standby/1@1000+2500
        a:primary/1@3000 b:standby/1@3000
        a:primary/1@3000 b:standby/1@3000
        a:primary/1@3000 b:mute
        a:primary/1@3000 b:down
        ",
        expect![[r#"
            a of 1, 0 changes | a primary, b standby -0 0s
            a of 1, 0 changes | a primary, b standby -1000 11s
            a of 1, 0 changes | a primary, b standby -2000 21s
            a of 1, 0 changes | a primary, b standby -0 0s
            a of 1, 0 changes | a primary, b standby -0 0s
            a of 1, 0 changes | a primary, b standby
            a of 1, 0 changes | a primary, b standby (down)
        "#]],
    );
}

#[test]
fn while_the_primary_is_away_no_lag_grows() {
    check(
        "
        a:primary/1@1000 b:standby/1@1000
        a:primary/1@2000 b:standby/1@1500
        a:down b:standby/1@1500
        a:down b:standby/1@1500
        ",
        expect![[r#"
            a of 1, 0 changes | a primary, b standby -0 0s
            a of 1, 0 changes | a primary, b standby -500 6s
            none of 1, 0 changes | a primary (down), b standby -500 5s
            none of 1, 0 changes | a primary (down), b standby -500 5s
        "#]],
    );
}

#[test]
fn no_lag_is_known_while_one_of_the_two_cannot_be_asked() {
    check(
        "
        a:primary/1@1000 b:standby/1@1000
        a:primary/1@9000 b:standby/1@2000
        a:? b:standby/1@8000
        a:? b:standby/1@9000
        a:primary/1@19000 b:standby/1@10000
        a:primary/1@19000 b:?
        ",
        expect![[r#"
            a of 1, 0 changes | a primary, b standby -0 0s
            a of 1, 0 changes | a primary, b standby -7000 9.75s
            a of 1, 0 changes | a primary, b standby number of writers unknown
            a of 1, 0 changes | a primary, b standby number of writers unknown
            a of 1, 0 changes | a primary, b standby -9000 28s
            a of 1, 0 changes | a primary, b standby
        "#]],
    );
}

#[test]
fn a_primary_that_could_not_be_asked_is_no_split_brain_with_the_one_that_followed_it() {
    check(
        "
        a:primary/1@1000 b:standby/1@1000
        a:? b:standby/1@1000
        a:? b:primary/2@1100
        a:? b:primary/2@1200
        ",
        expect![[r#"
            a of 1, 0 changes | a primary, b standby -0 0s
            a of 1, 0 changes | a primary, b standby number of writers unknown
            b of 1, 1 changes | a primary, b primary perhaps at once ! the primary is now `b`, no longer `a`
            b of 1, 1 changes | a primary, b primary perhaps at once
        "#]],
    );
}

#[test]
fn servers_of_different_clusters_are_separate_and_no_split_brain() {
    check(
        "
        a:primary/1@100 b:standby/1@100 c:two/primary/7@9000
        a:primary/1@100 b:standby/1@100 c:two/primary/7@9000
        ",
        expect![[r#"
            a of 2, 0 changes | a primary, b standby -0 0s, c primary 2 write
            a of 2, 0 changes | a primary, b standby -0 0s, c primary 2 write
        "#]],
    );
}

#[test]
fn another_cluster_behind_the_same_address_is_another_primary() {
    check(
        "
        a:primary/1@100
        a:down
        a:two/primary/1@50
        a:two/primary/1@60
        ",
        expect![[r#"
            a of 1, 0 changes | a primary
            none of 0, 0 changes | a primary (down)
            a of 1, 1 changes | a primary ! another cluster answers as `a` ! `a` is the primary of another cluster than before
            a of 1, 1 changes | a primary
        "#]],
    );
}

#[test]
fn a_server_that_went_another_way_is_not_ahead() {
    check(
        "
        a:primary/1@100 b:standby/1@100 c:standby/1@120
        a:down b:primary/2@110 c:standby/1@120
        a:down b:primary/2@115 c:standby/1@120
        ",
        expect![[r#"
            a of 1, 0 changes | a primary, b standby -0 0s, c standby -0 0s
            b of 1, 1 changes | a primary (down), b primary, c standby ! the primary is now `b`, no longer `a`
            b of 1, 1 changes | a primary (down), b primary, c standby
        "#]],
    );
}

#[test]
fn servers_that_were_never_reached_are_unknown() {
    check(
        "a:down b:mute",
        expect![[r#"
        none of 0, 0 changes | a unknown (down), b unknown
    "#]],
    );
}

#[test]
fn a_server_that_is_listed_under_two_names_is_one() {
    check(
        "
        a:primary/1@100 b:standby/1@100 v:a=primary/1@100
        a:primary/1@110 b:standby/1@110 v:a=primary/1@110
        a:mute b:standby/1@110 v:a=primary/1@120
        a:primary/1@130 b:standby/1@110 v:a=primary/1@130
        a:down b:standby/1@110 v:a=primary/1@130
        ",
        expect![[r#"
            v of 1, 0 changes | a primary, b standby -0 0s, v = a primary
            v of 1, 0 changes | a primary, b standby -0 0s, v = a primary
            v of 1, 0 changes | a primary, b standby -9 9s, v = a primary
            v of 1, 0 changes | a primary, b standby -19 19s, v = a primary
            v of 1, 0 changes | a primary (down), b standby -20 29s, v primary
        "#]],
    );
}

#[test]
fn an_address_that_moved_to_the_new_primary_is_no_split_brain_and_no_shelter_for_one() {
    check(
        "
        a:primary/1@100 b:standby/1@100 v:a=primary/1@100
        a:. b:primary/2@110 v:b=primary/2@110
        a:down b:primary/2@120 v:b=primary/2@120
        a:primary/1@110 b:primary/2@130 v:b=primary/2@130
        ",
        expect![[r#"
            v of 1, 0 changes | a primary, b standby -0 0s, v = a primary
            v of 1, 0 changes | a primary, b primary, v = b primary 2 write perhaps at once
            v of 1, 0 changes | a primary (down), b primary, v = b primary
            v of 1, 0 changes | a primary, b primary, v = b primary 2 write ! split brain: `a` and `b` and `v` write to one cluster at the same time
        "#]],
    );
}

#[test]
fn a_member_of_another_cluster_that_is_gone_is_counted_no_more() {
    check(
        "
        a:primary/1@100 b:two/standby/1@100
        a:primary/1@110 b:down
        a:primary/1@120 b:standby/1@100
        ",
        expect![[r#"
            a of 2, 0 changes | a primary, b standby
            a of 1, 0 changes | a primary, b standby (down)
            a of 1, 0 changes | a primary, b standby -20 21s ! another cluster answers as `b`
        "#]],
    );
}
