//! Cost of one collector, from the server's own counters or from the agent's clock.

use std::collections::VecDeque;
use std::time::Duration;

/// Runs whose median is the measured cost of a run.
const RUNS_KEPT: usize = 5;
/// Fewest runs for a median. A single run is no measure.
const MEASURED_MIN: usize = 2;
/// Time after the agent's start whose runs are not measured. The agent compiles plugins and opens sessions, so all answers take longer.
const WARM_UP: Duration = Duration::from_secs(30);
/// Fewest runs over which a difference of the server's counter is divided.
const COUNTED_RUNS_MIN: u64 = 2;
/// How long a cost from the server's counter is valid without a newer one.
const COUNTED_FOR: Duration = Duration::from_mins(30);
/// Factor from which a collector is reported as slowed. The report ends after [`CALM_FOR`] below [`SLOWED_UNTIL`], so that chance causes
/// no reports.
const SLOWED_FROM: f64 = 1.25;
const SLOWED_UNTIL: f64 = 1.05;
const CALM_FOR: Duration = Duration::from_mins(5);

/// Account of one collector: its measured and its counted cost.
#[derive(Debug)]
pub(super) struct Account {
    /// Measured seconds of the latest runs, without those in [`WARM_UP`] and without the first. A new session reads the server's catalogue
    /// once, which costs many times more than later runs.
    measured: VecDeque<f64>,
    runs: u64,
    counted: Option<Counted>,
    interval: Duration,
    /// True for an essential collector, which is hardly slowed.
    pub is_essential: bool,
    /// True while the collector is reported as slowed.
    pub slowed: bool,
    /// Monotonic time since which a collector reported as slowed runs as often as configured.
    calm_since: Option<Duration>,
}

/// Reading of the server's counter for a collector's statements.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// Value of the counter, in seconds, at the collector's run `at_run`.
    total_seconds: f64,
    at_run: u64,
    /// Seconds of one recent run, and the monotonic time of that result.
    per_run: Option<(f64, Duration)>,
}

impl Account {
    /// Creates an account for a collector with this configured interval.
    pub(super) fn new(interval: Duration, is_essential: bool) -> Self {
        let measured = VecDeque::with_capacity(RUNS_KEPT);
        Self { measured, runs: 0, counted: None, interval, is_essential, slowed: false, calm_since: None }
    }

    /// Records a run that cost `seconds` by the agent's clock.
    pub(super) fn record_run(&mut self, seconds: f64, interval: Duration, now: Duration) {
        self.interval = interval;
        self.runs += 1;
        // The first run costs more than those after it.
        if self.runs > 1 && now >= WARM_UP {
            if self.measured.len() == RUNS_KEPT {
                self.measured.pop_front();
            }
            self.measured.push_back(seconds);
        }
    }

    /// Records the server's counter, in seconds, for the collector's statements.
    pub(super) fn record_counter(&mut self, total_seconds: f64, now: Duration) {
        let per_run = match self.counted {
            // The server's counter was reset and counts anew.
            Some(before) if total_seconds < before.total_seconds => before.per_run,
            // Runs without a cost: the server stopped counting, or dropped what it had counted. That is no cost of zero.
            Some(before) if self.runs - before.at_run >= COUNTED_RUNS_MIN && total_seconds <= before.total_seconds => None,
            Some(before) if self.runs - before.at_run >= COUNTED_RUNS_MIN => {
                Some(((total_seconds - before.total_seconds) / (self.runs - before.at_run) as f64, now))
            }
            // Too few runs to divide the difference.
            Some(_) => return,
            None => None,
        };
        self.counted = Some(Counted { total_seconds, at_run: self.runs, per_run });
    }

    fn seconds_per_run(&self, now: Duration) -> f64 {
        let counted = self.counted.and_then(|counted| counted.per_run);
        match counted {
            Some((seconds, at)) if now.saturating_sub(at) <= COUNTED_FOR.max(self.interval * 4) => seconds,
            _ => self.median(),
        }
    }

    /// Median of the measured seconds; 0 with too few runs to judge.
    fn median(&self) -> f64 {
        if self.measured.len() < MEASURED_MIN {
            return 0.0;
        }
        let mut measured: Vec<f64> = self.measured.iter().copied().collect();
        measured.sort_by(f64::total_cmp);
        measured.get((measured.len() - 1) / 2).copied().unwrap_or(0.0)
    }

    /// Configured interval of the latest run.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Share of one core at the configured interval; 1 is a whole core.
    pub(super) fn share(&self, now: Duration) -> f64 {
        self.seconds_per_run(now) / self.interval.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Compares the present factor with the limits. Returns whether the collector is slowed, or `None` if that did not change.
    pub(super) fn judge(&mut self, factor: f64, now: Duration) -> Option<bool> {
        if !self.slowed {
            self.slowed = factor >= SLOWED_FROM;
            self.calm_since = None;
            return self.slowed.then_some(true);
        }
        if factor > SLOWED_UNTIL {
            self.calm_since = None;
        } else if now.saturating_sub(*self.calm_since.get_or_insert(now)) >= CALM_FOR {
            (self.slowed, self.calm_since) = (false, None);
            return Some(false);
        }
        None
    }
}
