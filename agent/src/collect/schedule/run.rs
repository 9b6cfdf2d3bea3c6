//! The times at which a collector runs and looks.

use std::time::Duration;

use pharos_model::budget::Cost;
use tokio::time::Instant;

use crate::collect::collector::Collector;

/// Pause before a part that lacked a right is asked for again. No event reports that the right is back.
const RIGHT_PAUSE: Duration = Duration::from_mins(1);

/// A collector in its server's schedule.
pub struct Run<S> {
    pub collector: Box<dyn Collector<S>>,
    pub due: Instant,
    /// When the next look is due, for a collector that looks between its runs.
    pub look_due: Option<Instant>,
    last: Option<Instant>,
    /// Whether the last run lacked a right.
    is_refused: bool,
    /// The interval with which the due time was planned.
    planned_with: Duration,
    /// The cost of the looks since the last run.
    pub spent: Cost,
}

impl<S> Run<S> {
    pub fn new(collector: Box<dyn Collector<S>>, due: Instant) -> Self {
        let look_due = collector.sampling().map(|every| due + every);
        Self { collector, due, look_due, last: None, is_refused: false, planned_with: Duration::ZERO, spent: Cost::default() }
    }

    /// Makes the run due now, unless the last one was a moment ago: in trouble many collectors ask for the same one.
    pub fn hurry(&mut self, now: Instant) {
        let pause = self.collector.interval() / 2;
        if self.last.is_none_or(|last| now.saturating_duration_since(last) >= pause) {
            self.due = self.due.min(now);
        }
    }

    pub fn ran(&mut self, at: Instant, is_refused: bool) {
        (self.last, self.is_refused) = (Some(at), is_refused);
    }

    /// The interval without a budget. It is shorter while a right is missing; such a run may be expensive all the same, so the budget holds
    /// for it as well.
    pub fn wanted(&self) -> Duration {
        let configured = self.collector.interval();
        if self.is_refused { configured.min(RIGHT_PAUSE) } else { configured }
    }

    /// Advances the due time where the interval in force became shorter since it was planned. It is never moved into the past, and once
    /// for each change: runs without a session would pull each other back for ever.
    pub fn hasten(&mut self, interval: Duration, now: Instant) {
        if let Some(gain) = self.planned_with.checked_sub(interval).filter(|gain| !gain.is_zero()) {
            self.planned_with = interval;
            self.due = self.due.checked_sub(gain).unwrap_or(now).max(now);
        }
    }

    /// Moves the due time past now by whole intervals. Returns how many passed unused.
    pub fn plan(&mut self, interval: Duration, now: Instant) -> u32 {
        let (due, skipped) = next(self.due, interval, now);
        self.due = due;
        self.planned_with = interval;
        skipped
    }

    /// Moves the time of the next look past now, if it is due. Looks that passed are not counted.
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

    /// Seconds from a run to the next one, where each costs the server so many, and the last lacked a right or did not.
    fn pause(seconds: f64, is_refused: bool) -> f64 {
        let spending = Spending::new("db1:5432", 0.005, Arc::new(SelfMetrics::default()));
        let now = Instant::now();
        let mut run = Run::new(Box::new(Hourly), now);
        for (count, is_refused) in [true, true, true, is_refused].into_iter().enumerate() {
            run.ran(now, is_refused);
            let cost = Cost { seconds, statements: 1, ..Cost::default() };
            spending.charge(Expense { part: PartId::Sizes, is_essential: false, cost, interval: run.wanted() });
            spending.counted("sizes", seconds * count as f64, 0.0, 0.0);
        }
        run.plan(spending.interval(PartId::Sizes, run.wanted()), now);
        (run.due - now).as_secs_f64().round()
    }

    #[tokio::test]
    async fn a_part_that_lacks_a_right_is_asked_for_soon_as_far_as_the_budget_allows() {
        assert_eq!(pause(0.001, true), 60.0);
        assert_eq!(pause(2.0, true), 400.0, "2 s of 400 s are the budget");
        assert_eq!(pause(2.0, false), 3_600.0, "whatever else is wrong with it");
    }
}
