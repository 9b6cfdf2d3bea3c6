//! The times at which a collector runs, and takes samples between its runs.

use std::time::Duration;

use pharos_model::budget::Cost;
use tokio::time::Instant;

use crate::collect::collector::Collector;

/// Pause before a part that lacked a right is read again. No event reports that the right was granted.
const RIGHT_PAUSE: Duration = Duration::from_mins(1);

/// A collector in its server's schedule.
pub(super) struct Run<S> {
    pub collector: Box<dyn Collector<S>>,
    pub due: Instant,
    /// When the next sample is due, for a collector that takes samples between its runs.
    pub sample_due: Option<Instant>,
    last: Option<Instant>,
    /// Whether the last run lacked a right.
    is_refused: bool,
    /// The interval with which the due time was planned.
    planned_with: Duration,
    /// The cost of the samples since the last run.
    pub spent: Cost,
}

impl<S> Run<S> {
    pub(super) fn new(collector: Box<dyn Collector<S>>, due: Instant) -> Self {
        let sample_due = collector.sampling().map(|every| due + every);
        Self { collector, due, sample_due, last: None, is_refused: false, planned_with: Duration::ZERO, spent: Cost::default() }
    }

    /// Makes the run due now, unless the last one is less than half an interval ago: in trouble many runs ask for the same collector.
    pub(super) fn make_due(&mut self, now: Instant) {
        let pause = self.collector.interval() / 2;
        if self.last.is_none_or(|last| now.saturating_duration_since(last) >= pause) {
            self.due = self.due.min(now);
        }
    }

    /// Records that the collector ran. `is_refused` means that it lacked a right.
    pub(super) fn record_run(&mut self, at: Instant, is_refused: bool) {
        (self.last, self.is_refused) = (Some(at), is_refused);
    }

    /// The interval before the budget makes it longer. It is shorter while a right is missing. The budget applies then too, since such a
    /// run may still be expensive.
    pub(super) fn interval_without_budget(&self) -> Duration {
        let configured = self.collector.interval();
        if self.is_refused { configured.min(RIGHT_PAUSE) } else { configured }
    }

    /// Makes the run due earlier if its interval became shorter since it was planned. The due time is never moved into the past, and only
    /// once for each change: otherwise runs without a session would move it back again and again.
    pub(super) fn apply_shorter_interval(&mut self, interval: Duration, now: Instant) {
        if let Some(gain) = self.planned_with.checked_sub(interval).filter(|gain| !gain.is_zero()) {
            self.planned_with = interval;
            self.due = self.due.checked_sub(gain).unwrap_or(now).max(now);
        }
    }

    /// Moves the due time past now by whole intervals. Returns how many intervals were skipped.
    pub(super) fn plan(&mut self, interval: Duration, now: Instant) -> u32 {
        let (due, skipped) = next(self.due, interval, now);
        self.due = due;
        self.planned_with = interval;
        skipped
    }

    /// Moves the time of the next sample past now, if it is due. Skipped samples are not counted.
    pub(super) fn plan_sample_if_due(&mut self, every: Duration, tick: Instant, now: Instant) {
        if let Some(due) = self.sample_due.filter(|due| *due <= tick) {
            self.sample_due = Some(next(due, every, now).0);
        }
    }
}

fn next(due: Instant, interval: Duration, now: Instant) -> (Instant, u32) {
    let behind = now.saturating_duration_since(due).as_nanos() / interval.as_nanos().max(1);
    let skipped = u32::try_from(behind).unwrap_or(u32::MAX);
    (due + interval * skipped.saturating_add(1), skipped)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use pharos_model::alert::Now;
    use pharos_model::snapshot::PartId;

    use super::*;
    use crate::collect::collect_error::CollectError;
    use crate::collect::collector::Facts;
    use crate::collect::schedule::{Expense, Spending};
    use crate::telemetry::metrics::SelfMetrics;

    /// A part that is read once an hour.
    struct Hourly;

    impl Collector<()> for Hourly {
        fn part(&self) -> PartId {
            PartId::Sizes
        }

        fn interval(&self) -> Duration {
            Duration::from_hours(1)
        }

        fn collect<'a>(&'a mut self, (): &'a mut (), _: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
            async { Ok(Facts::default()) }.boxed()
        }
    }

    /// Seconds from a run to the next one, if each run costs the server `seconds`. `is_refused`: the last one lacked a right.
    fn pause(seconds: f64, is_refused: bool) -> f64 {
        let spending = Spending::new("db1:5432", 0.005, Arc::new(SelfMetrics::default()));
        let now = Instant::now();
        let mut run = Run::new(Box::new(Hourly), now);
        for (count, is_refused) in [true, true, true, is_refused].into_iter().enumerate() {
            run.record_run(now, is_refused);
            let cost = Cost { seconds, statements: 1, ..Cost::default() };
            spending.charge(Expense { part: PartId::Sizes, is_essential: false, cost, interval: run.interval_without_budget() });
            spending.record_server_cost("sizes", seconds * count as f64, 0.0, 0.0);
        }
        run.plan(spending.interval(PartId::Sizes, run.interval_without_budget()), now);
        (run.due - now).as_secs_f64().round()
    }

    #[tokio::test]
    async fn a_part_that_lacks_a_right_is_read_again_soon_if_the_budget_allows_it() {
        assert_eq!(pause(0.001, true), 60.0);
        assert_eq!(pause(2.0, true), 400.0, "2 s of 400 s are the budget");
        assert_eq!(pause(2.0, false), 3_600.0, "a part with its right has the configured interval");
    }
}
