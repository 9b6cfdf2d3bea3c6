//! When a collector runs, and when it looks between two runs.

use std::time::Duration;

use pharos_model::budget::Cost;
use tokio::time::Instant;

use crate::collect::Collector;

/// One collector in its server's schedule.
pub struct Run<S> {
    pub collector: Box<dyn Collector<S>>,
    pub due: Instant,
    /// Of the next look, if it looks between its runs.
    pub look_due: Option<Instant>,
    last: Option<Instant>,
    /// The interval that its due time was planned with.
    planned_with: Duration,
    /// What its looks cost since its last run.
    pub spent: Cost,
}

impl<S> Run<S> {
    pub fn new(collector: Box<dyn Collector<S>>, due: Instant) -> Self {
        let look_due = collector.sampling().map(|every| due + every);
        Self { collector, due, look_due, last: None, planned_with: Duration::ZERO, spent: Cost::default() }
    }

    /// Makes it due now, unless it ran a moment ago: while there is trouble everybody would ask for it.
    pub fn hurry(&mut self, now: Instant) {
        let pause = self.collector.interval() / 2;
        if self.last.is_none_or(|last| now.saturating_duration_since(last) >= pause) {
            self.due = self.due.min(now);
        }
    }

    pub fn ran(&mut self, at: Instant) {
        self.last = Some(at);
    }

    /// Takes the due time back where the interval in force became shorter since it was planned: the collector was thought to be expensive.
    /// Never into the past, and once for each change, so that runs without a session do not pull each other back for ever.
    pub fn hasten(&mut self, interval: Duration, now: Instant) {
        if let Some(gain) = self.planned_with.checked_sub(interval).filter(|gain| !gain.is_zero()) {
            self.planned_with = interval;
            self.due = self.due.checked_sub(gain).unwrap_or(now).max(now);
        }
    }

    /// Moves the due time past now by whole intervals; says how many passed unused.
    pub fn plan(&mut self, interval: Duration, now: Instant) -> u32 {
        let (due, skipped) = next(self.due, interval, now);
        self.due = due;
        self.planned_with = interval;
        skipped
    }

    /// The same for its looks, of which nobody misses one.
    pub fn plan_look_if_due(&mut self, every: Duration, tick: Instant, now: Instant) {
        if let Some(due) = self.look_due.filter(|due| *due <= tick) {
            self.look_due = Some(next(due, every, now).0);
        }
    }
}

fn next(due: Instant, interval: Duration, now: Instant) -> (Instant, u32) {
    let behind = now.saturating_duration_since(due).as_nanos() / interval.as_nanos().max(1);
    let skipped = u32::try_from(behind).unwrap_or(u32::MAX);
    (due + interval * skipped.saturating_add(1), skipped)
}
