//! What one collector costs: as the server counted it, or as seen from here.

use std::collections::VecDeque;
use std::time::Duration;

/// Runs whose median is the cost of a run.
const RUNS_KEPT: usize = 5;
/// Runs without which a median is one moment.
const SEEN_MIN: usize = 2;
/// An agent that starts compiles plugins and opens sessions, and whatever it asks meanwhile takes longer than ever after.
const WARM_UP: Duration = Duration::from_secs(30);
/// Runs over which the server's own count is shared out at least.
const COUNTED_RUNS_MIN: u64 = 2;
/// How long the server's own count holds without a newer one.
const COUNTED_FOR: Duration = Duration::from_mins(30);
/// From this factor on a collector is said to be slowed, until it is below the other for so long: nobody should read of chance.
const SLOWED_FROM: f64 = 1.25;
const SLOWED_UNTIL: f64 = 1.05;
const CALM_FOR: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub struct Account {
    /// Cost of the latest runs as seen from here, but of those in [`WARM_UP`] and of the very first one: a session that is new to the
    /// server reads its catalogue once, at many times the cost of every run after it.
    seen: VecDeque<f64>,
    runs: u64,
    counted: Option<Counted>,
    interval: Duration,
    pub slowed: bool,
    /// Since when it runs as often as configured, while it is said to be slowed.
    calm_since: Option<Duration>,
}

/// What the server itself counted for a collector's statements.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// Since it counts, at this run of the collector.
    total_seconds: f64,
    at_run: u64,
    /// Of one run, lately, and when it was known.
    per_run: Option<(f64, Duration)>,
}

impl Account {
    pub fn new(interval: Duration) -> Self {
        Self { seen: VecDeque::with_capacity(RUNS_KEPT), runs: 0, counted: None, interval, slowed: false, calm_since: None }
    }

    /// One run cost this much as seen from here.
    pub fn run(&mut self, seconds: f64, interval: Duration, now: Duration) {
        self.interval = interval;
        self.runs += 1;
        // The first one is not like those after it.
        if self.runs > 1 && now >= WARM_UP {
            if self.seen.len() == RUNS_KEPT {
                self.seen.pop_front();
            }
            self.seen.push_back(seconds);
        }
    }

    /// The server counted this much since it counts.
    pub fn count(&mut self, total_seconds: f64, now: Duration) {
        let per_run = match self.counted {
            // The server forgot: what it counts from now on is new.
            Some(before) if total_seconds < before.total_seconds => before.per_run,
            // It ran and cost nothing: the server stopped to count, or it threw away what it had counted. That is no cost of zero.
            Some(before) if self.runs - before.at_run >= COUNTED_RUNS_MIN && total_seconds <= before.total_seconds => None,
            Some(before) if self.runs - before.at_run >= COUNTED_RUNS_MIN => {
                Some(((total_seconds - before.total_seconds) / (self.runs - before.at_run) as f64, now))
            }
            // Too few runs to share it out.
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

    /// Nothing before there is enough to judge by.
    fn median(&self) -> f64 {
        if self.seen.len() < SEEN_MIN {
            return 0.0;
        }
        let mut seen: Vec<f64> = self.seen.iter().copied().collect();
        seen.sort_by(f64::total_cmp);
        seen.get((seen.len() - 1) / 2).copied().unwrap_or(0.0)
    }

    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Share of one core at the configured interval.
    pub fn share(&self, now: Duration) -> f64 {
        self.seconds_per_run(now) / self.interval.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Takes in the factor of now; says whether the collector is slowed, if that changed.
    pub fn judge(&mut self, factor: f64, now: Duration) -> Option<bool> {
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
