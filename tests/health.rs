//! No plugin or subject that always fails is called without pauses, and no bad server prevents the judgement of another one.
//!
//! The error budget of plugins on its own: given times, exact pauses. `plugins` shows that real plugins are held to it.

use std::time::Duration;

use pharos::plugin::quarantine::{Health, Verdict};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What the calls are about, where that makes no difference.
const ONE: &str = "redis one:6379";
const OTHER: &str = "redis other:6379";

/// Offends until there is a verdict, and returns how long the pause is.
fn quarantine(health: &mut Health, now: Duration) -> Duration {
    for _ in 0..3 {
        assert_eq!(health.may_call(ONE, now), Ok(()));
        if let Verdict::Quarantined(pause) = health.offended(ONE, now, 0.0) {
            return pause;
        }
    }
    panic!("three offences are one too many: {health:?}");
}

#[test]
fn three_offences_in_a_row_quarantine_and_a_call_that_works_starts_the_count_again() {
    let mut health = Health::default();
    for _ in 0..3 {
        assert_eq!(health.offended(ONE, s(0), 0.0), Verdict::Tolerated);
        assert_eq!(health.offended(ONE, s(0), 0.0), Verdict::Tolerated);
        assert!(!health.worked(ONE, s(0)), "there was no quarantine to end");
    }
    assert_eq!(health.offended(ONE, s(0), 0.0), Verdict::Tolerated);
    assert_eq!(health.offended(ONE, s(0), 0.0), Verdict::Tolerated);
    assert!(!health.is_quarantined());
    assert_eq!(health.offended(ONE, s(0), 0.0), Verdict::Quarantined(s(1)));
    assert!(health.is_quarantined());
}

/// Retries for one receiver follow each other if no other receiver gets a message for a while.
#[test]
fn a_plugin_that_always_fails_about_one_subject_is_not_called_about_that_subject_only() {
    let mut health = Health::default();
    assert!(!health.worked(OTHER, s(0)));
    for now in [1, 2] {
        assert_eq!(health.offended(ONE, s(now), 0.0), Verdict::Tolerated);
    }
    assert!(matches!(health.offended(ONE, s(3), 0.0), Verdict::SubjectPaused(_)), "{health:?}");
    assert_eq!(health.may_call(OTHER, s(3)), Ok(()));
    assert!(health.may_call(ONE, s(3)).is_err() && !health.is_quarantined());
}

#[test]
fn each_probe_that_fails_doubles_the_pause_up_to_five_minutes() {
    let mut health = Health::default();
    let mut now = s(100);
    let mut pauses = vec![quarantine(&mut health, now)];
    while pauses.len() < 12 {
        now += *pauses.last().unwrap();
        assert_eq!(health.may_call(ONE, now), Ok(()), "the pause is over");
        // One offence is enough for a probe.
        let Verdict::Quarantined(pause) = health.offended(ONE, now, 0.0) else { panic!("{health:?}") };
        pauses.push(pause);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map(s));
}

#[test]
fn a_probe_of_the_plugin_and_of_one_server_at_once_lets_neither_wait_for_ever() {
    let mut health = Health::default();
    // Kept from one, since others work meanwhile.
    loop {
        let verdict = health.offended(ONE, s(0), 0.0);
        if verdict != Verdict::Tolerated {
            assert_eq!(verdict, Verdict::SubjectPaused(s(1)), "{health:?}");
            break;
        }
        assert!(!health.worked(OTHER, s(0)));
    }
    // Then the others fail, and all of it is quarantined.
    let third = "redis third:6379";
    while health.offended(if health.is_failing() { third } else { OTHER }, s(0), 0.0) == Verdict::Tolerated {}
    assert!(health.is_quarantined());
    // The first call after both pauses is about the one.
    assert_eq!(health.may_call(ONE, s(10)), Ok(()));
    assert_eq!(health.offended(ONE, s(10), 0.0), Verdict::Quarantined(s(2)));
    assert_eq!(health.may_call(OTHER, s(20)), Ok(()));
    assert!(health.worked(OTHER, s(20)));
    assert_eq!(health.may_call(ONE, s(20)), Ok(()), "it is probed as well");
}

#[test]
fn no_plugin_is_called_in_a_pause_and_after_it_one_probe_at_a_time() {
    let mut health = Health::default();
    assert_eq!(quarantine(&mut health, s(10)), s(1));
    assert_eq!(health.may_call(ONE, s(10)), Err(s(1)));
    assert_eq!(health.may_call(ONE, Duration::from_millis(10_750)), Err(Duration::from_millis(250)));
    assert_eq!(health.may_call(ONE, s(11)), Ok(()));
    for _ in 0..3 {
        assert_eq!(health.may_call(ONE, s(20)), Err(Duration::ZERO), "the probe is under way");
    }
    assert!(health.is_quarantined(), "until the probe has worked");
    assert!(health.worked(ONE, s(20)), "that ended the quarantine");
    assert!(!health.is_quarantined());
    for _ in 0..3 {
        assert_eq!(health.may_call(ONE, s(20)), Ok(()));
    }
}

#[test]
fn a_plugin_that_fell_back_pauses_longer_until_it_has_behaved_for_an_hour() {
    let mut health = Health::default();
    assert_eq!(quarantine(&mut health, s(0)), s(1));
    assert_eq!(health.may_call(ONE, s(1)), Ok(()));
    assert!(health.worked(ONE, s(1)));
    assert_eq!(quarantine(&mut health, s(50)), s(2));
    assert_eq!(health.may_call(ONE, s(52)), Ok(()));
    assert!(health.worked(ONE, s(52)));
    // An hour since the quarantine, and not a moment more: it is not forgiven.
    assert!(!health.worked(ONE, s(50 + 3_600)));
    assert_eq!(quarantine(&mut health, s(50 + 3_600)), s(4));
    assert_eq!(health.may_call(ONE, s(5_000)), Ok(()));
    assert!(health.worked(ONE, s(5_000)));
    assert!(!health.worked(ONE, s(50 + 2 * 3_600 + 1)));
    assert_eq!(quarantine(&mut health, s(50 + 2 * 3_600 + 1)), s(1));
}

#[test]
fn jitter_adds_up_to_a_quarter_to_the_pause_so_that_plugins_do_not_probe_together() {
    for (jitter, pause_ms) in [(0.0, 1_000), (0.5, 1_125), (1.0, 1_250)] {
        let mut health = Health::default();
        health.offended(ONE, s(0), jitter);
        health.offended(ONE, s(0), jitter);
        let pause = Duration::from_millis(pause_ms);
        assert_eq!(health.offended(ONE, s(0), jitter), Verdict::Quarantined(pause));
        assert_eq!(health.may_call(ONE, pause - Duration::from_nanos(1)), Err(Duration::from_nanos(1)));
        assert_eq!(health.may_call(ONE, pause), Ok(()));
    }
}

/// Calls about two servers in turn, and returns the result of each call. A call works unless `fails` returns true.
fn by_turns(health: &mut Health, calls: std::ops::Range<u64>, fails: impl Fn(u64) -> bool) -> Vec<(u64, Verdict)> {
    let mut verdicts = Vec::new();
    for call in calls {
        let about = if call % 2 == 0 { ONE } else { OTHER };
        // A call a minute: the first pauses are over before the next one.
        if health.may_call(about, s(60 * call)).is_err() {
            continue;
        }
        if !fails(call) {
            health.worked(about, s(60 * call));
        } else {
            match health.offended(about, s(60 * call), 0.0) {
                Verdict::Tolerated => {}
                verdict => verdicts.push((call, verdict)),
            }
        }
    }
    verdicts
}

#[test]
fn a_plugin_that_fails_in_a_fifth_of_its_calls_does_not_serve_for_ever() {
    let mut health = Health::default();
    let verdicts = by_turns(&mut health, 1..51, |call| call % 5 == 0);
    assert_eq!(verdicts, [(50, Verdict::Quarantined(s(1)))]);
    assert!(health.is_failing());
    assert_eq!(health.failings().as_deref(), Some("failed in 10 of its last 50 calls"));
    // It comes back, and goes on as before: each further failure costs it more.
    let verdicts = by_turns(&mut health, 51..71, |call| call % 5 == 0);
    assert_eq!(
        verdicts,
        [2, 4, 8, 16].map(s).map(Verdict::Quarantined).into_iter().zip([55, 60, 65, 70]).map(|(v, call)| (call, v)).collect::<Vec<_>>()
    );
    // Mended, it is healthy again when less than half of its budget is used.
    by_turns(&mut health, 71..90, |_| false);
    assert!(health.is_failing());
    by_turns(&mut health, 90..121, |_| false);
    assert!(!health.is_failing() && !health.is_quarantined() && health.failings().is_none(), "{health:?}");
}

#[test]
fn a_plugin_that_fails_less_often_serves() {
    let mut health = Health::default();
    assert_eq!(by_turns(&mut health, 1..1_000, |call| call % 6 == 0), []);
    assert!(!health.is_failing());
}

#[test]
fn a_plugin_that_fails_with_one_server_goes_on_with_the_others() {
    let mut health = Health::default();
    let verdicts = by_turns(&mut health, 0..200, |call| call % 2 == 0);
    let pauses: Vec<Duration> = verdicts
        .iter()
        .map(|(_, verdict)| match verdict {
            Verdict::SubjectPaused(pause) => *pause,
            verdict => panic!("{verdict:?} in {verdicts:?}"),
        })
        .collect();
    assert_eq!(&pauses[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300].map(s), "as a whole plugin would pause");
    assert!(health.is_failing() && !health.is_quarantined());
    let failings = health.failings().unwrap();
    assert!(failings.contains("whenever it is called about redis one:6379,"), "{failings}");
    assert_eq!(health.may_call(OTHER, s(60 * 200)), Ok(()));
    assert!(!health.worked(OTHER, s(60 * 200)));
    // One probe about that server ends it.
    assert_eq!(health.may_call(ONE, s(60 * 210)), Ok(()));
    assert!(health.worked(ONE, s(60 * 210)), "it is healthy again");
    assert!(!health.is_failing());
}

#[test]
fn the_record_of_a_server_that_is_gone_is_removed() {
    let mut health = Health::default();
    by_turns(&mut health, 0..10, |call| call % 2 == 0);
    assert!(health.is_failing());
    health.worked(OTHER, s(10 * 60 + 3_600));
    assert!(!health.is_failing(), "there was no call about the server for an hour");
}

#[test]
fn calls_that_were_under_way_when_a_pause_began_neither_end_nor_prolong_it() {
    let mut health = Health::default();
    assert_eq!(quarantine(&mut health, s(0)), s(1));
    for _ in 0..5 {
        assert_eq!(health.offended(OTHER, s(0), 0.0), Verdict::Tolerated);
        assert!(!health.worked(OTHER, s(0)));
    }
    assert!(health.is_quarantined());
    assert_eq!(health.may_call(OTHER, s(0)), Err(s(1)));
}
