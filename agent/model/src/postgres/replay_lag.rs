//! Replay lag of a standby: how long it has had the WAL that it has not replayed.

use std::time::Duration;

use super::lsn_history::{Course, LsnHistory};

/// Replay lag of one standby over time.
#[derive(Default)]
pub struct ReplayLag {
    /// History of the positions up to which the standby received WAL.
    received: LsnHistory,
}

/// A standby's own positions at one instant.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// WAL position up to which the standby received WAL.
    pub received: u64,
    /// WAL position up to which the standby replayed WAL.
    pub replayed: u64,
    /// True if the WAL receiver runs.
    pub receiver_up: bool,
    /// Age in seconds of the last replayed transaction; `None` if unknown.
    pub replay_age: Option<f64>,
}

impl ReplayLag {
    /// Lag in seconds: the time since the standby received what it must replay next. If that is unknown, the age of the last transaction
    /// counts. That age is too much while the primary is idle, but never too little. Without a receiver, WAL beyond the replayed position
    /// is unknown, so a standby that replayed everything gets `None`.
    pub fn seconds(&mut self, place: Place, course: Course, now: Duration) -> Option<f64> {
        self.received.push(course, now, place.received);
        if place.received <= place.replayed {
            return place.receiver_up.then_some(0.0);
        }
        let lag = self.received.lag(place.replayed, now)?;
        let by = lag.by.as_secs_f64();
        Some(if lag.is_minimum { place.replay_age.map_or(by, |age| age.max(by)) } else { by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COURSE: Course = Course { epoch: 1, timeline: 1 };
    /// Idle primary: its last transaction is a day old.
    const DAY: f64 = 86_400.0;

    fn at(received: u64, replayed: u64, receiver_up: bool) -> Place {
        Place { received, replayed, receiver_up, replay_age: Some(DAY) }
    }

    #[test]
    fn a_standby_that_replayed_everything_has_no_lag_and_without_a_receiver_it_is_unknown() {
        assert_eq!(ReplayLag::default().seconds(at(100, 100, true), COURSE, Duration::ZERO), Some(0.0));
        assert_eq!(ReplayLag::default().seconds(at(100, 100, false), COURSE, Duration::ZERO), None);
    }

    #[test]
    fn received_wal_that_is_not_replayed_ages_with_and_without_a_receiver() {
        for receiver_up in [true, false] {
            let mut lag = ReplayLag::default();
            lag.seconds(at(100, 100, receiver_up), COURSE, Duration::ZERO);
            lag.seconds(at(200, 100, receiver_up), COURSE, Duration::from_secs(10));
            let seconds = lag.seconds(at(200, 100, receiver_up), COURSE, Duration::from_secs(40));
            assert!(seconds.is_some_and(|seconds| (30.0..=40.0).contains(&seconds)), "{seconds:?}");
        }
    }

    #[test]
    fn wal_from_before_the_first_reading_is_as_old_as_the_last_transaction() {
        assert_eq!(ReplayLag::default().seconds(at(200, 100, false), COURSE, Duration::ZERO), Some(DAY));
    }
}
