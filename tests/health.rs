//! The error budget of plugins on its own: given times, exact pauses. `plugins` shows that real plugins are held to it.

use std::time::Duration;

use pharos::plugin::health::{Health, Verdict};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Offends until there is a verdict, and returns how long the pause is.
fn quarantine(health: &mut Health, now: Duration) -> Duration {
    for _ in 0..3 {
        assert_eq!(health.may_call(now), Ok(()));
        if let Verdict::Quarantined(pause) = health.offended(now, 0.0) {
            return pause;
        }
    }
    panic!("three offences are one too many: {health:?}");
}

#[test]
fn three_offences_in_a_row_quarantine_and_a_call_that_works_starts_the_count_again() {
    let mut health = Health::default();
    for _ in 0..5 {
        assert_eq!(health.offended(s(0), 0.0), Verdict::Tolerated);
        assert_eq!(health.offended(s(0), 0.0), Verdict::Tolerated);
        assert!(!health.worked(s(0)), "there was no quarantine to end");
    }
    assert_eq!(health.offended(s(0), 0.0), Verdict::Tolerated);
    assert_eq!(health.offended(s(0), 0.0), Verdict::Tolerated);
    assert!(!health.is_quarantined());
    assert_eq!(health.offended(s(0), 0.0), Verdict::Quarantined(s(1)));
    assert!(health.is_quarantined());
}

#[test]
fn each_probe_that_fails_doubles_the_pause_up_to_five_minutes() {
    let mut health = Health::default();
    let mut now = s(100);
    let mut pauses = vec![quarantine(&mut health, now)];
    while pauses.len() < 12 {
        now += *pauses.last().unwrap();
        assert_eq!(health.may_call(now), Ok(()), "the pause is over");
        // One offence is enough for a probe.
        let Verdict::Quarantined(pause) = health.offended(now, 0.0) else { panic!("{health:?}") };
        pauses.push(pause);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300].map(s));
}

#[test]
fn nobody_is_called_in_a_pause_and_after_it_one_probe_at_a_time() {
    let mut health = Health::default();
    assert_eq!(quarantine(&mut health, s(10)), s(1));
    assert_eq!(health.may_call(s(10)), Err(s(1)));
    assert_eq!(health.may_call(Duration::from_millis(10_750)), Err(Duration::from_millis(250)));
    assert_eq!(health.may_call(s(11)), Ok(()));
    for _ in 0..3 {
        assert_eq!(health.may_call(s(20)), Err(Duration::ZERO), "the probe is under way");
    }
    assert!(health.is_quarantined(), "until the probe has worked");
    assert!(health.worked(s(20)), "that ended the quarantine");
    assert!(!health.is_quarantined());
    for _ in 0..3 {
        assert_eq!(health.may_call(s(20)), Ok(()));
    }
}

#[test]
fn a_plugin_that_fell_back_pauses_longer_until_it_has_behaved_for_an_hour() {
    let mut health = Health::default();
    assert_eq!(quarantine(&mut health, s(0)), s(1));
    assert_eq!(health.may_call(s(1)), Ok(()));
    assert!(health.worked(s(1)));
    assert_eq!(quarantine(&mut health, s(50)), s(2));
    assert_eq!(health.may_call(s(52)), Ok(()));
    assert!(health.worked(s(52)));
    // An hour since the quarantine, and not a moment more: it is not forgiven.
    assert!(!health.worked(s(50 + 3_600)));
    assert_eq!(quarantine(&mut health, s(50 + 3_600)), s(4));
    assert_eq!(health.may_call(s(5_000)), Ok(()));
    assert!(health.worked(s(5_000)));
    assert!(!health.worked(s(50 + 2 * 3_600 + 1)));
    assert_eq!(quarantine(&mut health, s(50 + 2 * 3_600 + 1)), s(1));
}

#[test]
fn jitter_adds_up_to_a_quarter_to_the_pause_so_that_plugins_do_not_probe_together() {
    for (jitter, pause_ms) in [(0.0, 1_000), (0.5, 1_125), (1.0, 1_250)] {
        let mut health = Health::default();
        health.offended(s(0), jitter);
        health.offended(s(0), jitter);
        let pause = Duration::from_millis(pause_ms);
        assert_eq!(health.offended(s(0), jitter), Verdict::Quarantined(pause));
        assert_eq!(health.may_call(pause - Duration::from_nanos(1)), Err(Duration::from_nanos(1)));
        assert_eq!(health.may_call(pause), Ok(()));
    }
}
