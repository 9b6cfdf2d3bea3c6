//! History of a server's WAL positions, which turns a lag in bytes into a lag in time.
//!
//! All times are on the agent's clock, so different clocks of two servers make no lag. An idle primary makes none either.

use std::collections::VecDeque;
use std::time::Duration;

/// Longest span of a history. A standby further behind gets a lag of "at least" the span.
const SPAN_MAX: Duration = Duration::from_secs(3600);

/// Most points of a history. Beyond it, the older half is thinned and becomes less exact.
const POINTS_MAX: usize = 1024;

/// Identity of one history. A server that restarted or was promoted begins another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    /// Number that changes when the server restarts.
    pub epoch: u64,
    /// Timeline of the server.
    pub timeline: i64,
}

/// Lag of a standby in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLag {
    /// Time of the lag.
    pub by: Duration,
    /// True if the history begins later than the lag, so that the lag is at least this long.
    pub is_minimum: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    at: Duration,
    lsn: u64,
}

/// Positions of one server, oldest first. Times and positions never fall.
#[derive(Debug, Clone, Default)]
pub struct LsnHistory {
    course: Option<Course>,
    points: VecDeque<Point>,
}

impl LsnHistory {
    /// Records the server's position. On another course, or behind the last position, the history begins again.
    pub fn push(&mut self, course: Course, at: Duration, lsn: u64) {
        let went_back = self.points.back().is_some_and(|last| lsn < last.lsn);
        if self.course != Some(course) || went_back {
            self.points.clear();
            self.course = Some(course);
        }
        if self.points.back().is_some_and(|last| at <= last.at) {
            return;
        }
        // For a time without writes, its first and last points are enough.
        if let [.., before, last] = self.points.make_contiguous()
            && before.lsn == lsn
            && last.lsn == lsn
        {
            last.at = at;
        } else {
            self.points.push_back(Point { at, lsn });
        }
        self.shorten(at);
    }

    fn shorten(&mut self, now: Duration) {
        // The newest point beyond the span stays: it is the position at the start of the span.
        while self.points.get(1).is_some_and(|second| now.saturating_sub(second.at) >= SPAN_MAX) {
            self.points.pop_front();
        }
        if self.points.len() > POINTS_MAX {
            let newer = self.points.split_off(POINTS_MAX / 2);
            let older = std::mem::replace(&mut self.points, newer);
            older.into_iter().step_by(2).collect::<Vec<_>>().into_iter().rev().for_each(|point| self.points.push_front(point));
        }
    }

    /// Monotonic time of the last point; `None` without points.
    pub fn last_at(&self) -> Option<Duration> {
        self.points.back().map(|last| last.at)
    }

    /// Position at an instant; after the last point, the last position. `None` without points.
    pub fn lsn_at(&self, at: Duration) -> Option<u64> {
        let after = self.points.partition_point(|point| point.at <= at);
        let Some(before) = after.checked_sub(1).and_then(|before| self.points.get(before)) else {
            return self.points.front().map(|first| first.lsn);
        };
        let Some(next) = self.points.get(after) else { return Some(before.lsn) };
        let share = (at - before.at).as_secs_f64() / (next.at - before.at).as_secs_f64();
        Some(before.lsn + ((next.lsn - before.lsn) as f64 * share) as u64)
    }

    /// Lag at `now` of a standby at position `lsn`: the time since this server passed that position. `None` without points.
    pub fn lag(&self, lsn: u64, now: Duration) -> Option<TimeLag> {
        let last = self.points.back()?;
        if lsn >= last.lsn {
            return Some(TimeLag { by: Duration::ZERO, is_minimum: false });
        }
        let beyond = self.points.partition_point(|point| point.lsn <= lsn);
        let next = self.points.get(beyond)?;
        let Some(before) = beyond.checked_sub(1).and_then(|before| self.points.get(before)) else {
            return Some(TimeLag { by: now.saturating_sub(next.at), is_minimum: true });
        };
        let share = (lsn - before.lsn) as f64 / (next.lsn - before.lsn) as f64;
        let left_at = before.at + (next.at - before.at).mul_f64(share);
        Some(TimeLag { by: now.saturating_sub(left_at), is_minimum: false })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const COURSE: Course = Course { epoch: 1, timeline: 1 };

    /// Builds a history from `(seconds, lsn)` of every point.
    fn history(points: &[(u64, u64)]) -> LsnHistory {
        let mut history = LsnHistory::default();
        for (at, lsn) in points {
            history.push(COURSE, Duration::from_secs(*at), *lsn);
        }
        history
    }

    /// Seconds of lag, and whether they are a minimum.
    #[track_caller]
    fn lag(history: &LsnHistory, lsn: u64, now: u64) -> (f64, bool) {
        let lag = history.lag(lsn, Duration::from_secs(now)).expect("a history with points");
        (lag.by.as_secs_f64(), lag.is_minimum)
    }

    #[test]
    fn lag_is_the_time_since_the_server_passed_that_position() {
        let busy = history(&[(0, 0), (10, 1_000), (20, 2_000), (30, 3_000)]);
        assert_eq!(lag(&busy, 1_000, 30), (20.0, false));
        assert_eq!(lag(&busy, 1_500, 30), (15.0, false), "between two readings");
        assert_eq!(lag(&busy, 3_000, 35), (0.0, false), "caught up");
        assert_eq!(lag(&busy, 4_000, 35), (0.0, false), "read after the server wrote more");
        assert_eq!(lag(&busy, 2_900, 25), (0.0, false), "read before the server reached its present position");
    }

    #[test]
    fn an_idle_server_makes_no_lag_and_time_counts_from_its_next_write() {
        let mut idle = history(&[(0, 100), (10, 500), (20, 500), (3_000, 500)]);
        assert_eq!(lag(&idle, 500, 3_010), (0.0, false));
        assert_eq!(idle.points.len(), 3, "{:?}", idle.points);
        idle.push(COURSE, Duration::from_secs(3_010), 600);
        assert_eq!(lag(&idle, 500, 3_015), (15.0, false), "not the hour in which nothing was written");
        assert_eq!(lag(&idle, 550, 3_015), (10.0, false));
    }

    #[test]
    fn a_standby_beyond_the_history_has_a_minimum_lag() {
        let late = history(&[(100, 5_000), (110, 6_000)]);
        assert_eq!(lag(&late, 4_000, 115), (15.0, true));
        let long = history(&(0..1_000).map(|step| (step * 10, step * 100)).collect::<Vec<_>>());
        assert_eq!(lag(&long, 0, 9_990), (3_600.0, true), "an hour is kept");
        assert!(long.points.len() <= 362, "{}", long.points.len());
    }

    #[test]
    fn another_course_and_a_fall_begin_anew() {
        let mut history = history(&[(0, 1_000), (10, 2_000)]);
        history.push(Course { epoch: 2, ..COURSE }, Duration::from_secs(20), 2_100);
        assert_eq!(lag(&history, 1_000, 25), (5.0, true), "restarted");
        history.push(Course { epoch: 2, timeline: 2 }, Duration::from_secs(30), 2_200);
        assert_eq!(lag(&history, 2_150, 31), (1.0, true), "promoted");
        history.push(Course { epoch: 2, timeline: 2 }, Duration::from_secs(40), 50);
        assert_eq!(lag(&history, 40, 41), (1.0, true), "fell");
    }

    #[test]
    fn there_is_no_lag_without_a_point() {
        assert_eq!(LsnHistory::default().lag(1, Duration::from_secs(1)), None);
        assert_eq!(LsnHistory::default().lsn_at(Duration::from_secs(1)), None);
    }

    #[test]
    fn positions_between_two_readings_are_interpolated() {
        let busy = history(&[(10, 1_000), (20, 2_000)]);
        let at = |seconds| busy.lsn_at(Duration::from_secs(seconds));
        assert_eq!((at(5), at(15), at(20), at(99)), (Some(1_000), Some(1_500), Some(2_000), Some(2_000)));
    }

    proptest! {
        /// A primary with random writes, and a standby that stopped at some instant. The lag is right within the readings around that
        /// instant and never negative. A standby further behind never has less lag.
        #[test]
        fn lag_is_right_within_one_reading(
            steps in vec((1..30_u64, prop_oneof![Just(0_u64), 1..100_000_u64]), 2..3_000),
            stopped in 0.0..1.0_f64,
        ) {
            let mut history = LsnHistory::default();
            let mut truth = Vec::new();
            let (mut at, mut lsn) = (0, 1_u64 << 40);
            for (seconds, bytes) in steps {
                (at, lsn) = (at + seconds, lsn + bytes);
                truth.push((at, lsn));
                history.push(COURSE, Duration::from_secs(at), lsn);
                prop_assert!(history.points.len() <= POINTS_MAX);
            }
            let index = ((truth.len() - 1) as f64 * stopped) as usize;
            let (_, stopped_lsn) = truth[index];
            let left_at = truth.iter().rev().find(|(_, lsn)| *lsn == stopped_lsn).map_or(0, |(at, _)| *at);
            let lag = history.lag(stopped_lsn, Duration::from_secs(at)).unwrap();
            let real = if stopped_lsn == lsn { 0 } else { at - left_at };
            if lag.is_minimum {
                prop_assert!(lag.by.as_secs() <= real && lag.by >= SPAN_MAX - Duration::from_secs(30));
            } else {
                // Each thinning of the older half doubles the gaps between its points.
                let gap = Duration::from_secs(30 * 8).as_secs_f64();
                prop_assert!((lag.by.as_secs_f64() - real as f64).abs() <= gap, "{lag:?} is not {real}");
            }
            let further = history.lag(stopped_lsn - 1, Duration::from_secs(at)).unwrap();
            prop_assert!(further.by + Duration::from_micros(1) >= lag.by, "{further:?} {lag:?}");
        }
    }
}
