//! Circuit breaker: too many failures open it, a pause follows, and one probe decides whether it closes again.
//!
//! Receivers of notifications and plugins have one each, with settings of their own. Time and chance are arguments.

use std::time::Duration;

/// Settings of a breaker: when it opens, how long it pauses, and when its pauses begin again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerSettings {
    /// Failures in a row that open the breaker, 1 or more.
    pub failures_max: u32,
    /// Limit for failures among the last calls; `None` without one.
    pub window: Option<WindowSettings>,
    /// Lengths of the pauses.
    pub pauses: Pauses,
    /// When the pauses begin with the shortest one again.
    pub forgiveness: Forgiveness,
    /// Meaning of results that arrive in a pause.
    pub late_results: LateResults,
}

/// Limit for the share of failures among the last calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSettings {
    /// Number of calls in the window, 1 to 63.
    pub calls: u32,
    /// Number of failures among them that opens the breaker.
    pub failures_max: u32,
}

/// Pauses that grow from failure to failure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pauses {
    /// Lengths of the pauses before jitter.
    pub steps: Steps,
    /// Smallest factor of a step; from 0 to 1 is full jitter. Without jitter, callers that failed together return together.
    pub share_min: f64,
    /// Largest factor of a step.
    pub share_max: f64,
    /// Shortest pause. Full jitter alone could cause several attempts at once.
    pub shortest: Duration,
}

/// Lengths of the first, second, ... pause before jitter. The last one repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    /// Each pause from this list in turn; the last one repeats.
    Listed(&'static [Duration]),
    /// Each pause is twice as long as the one before.
    Doubling {
        /// Length of the first pause.
        first: Duration,
        /// Length of the longest pause.
        max: Duration,
    },
}

/// When the pauses begin with the shortest one again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgiveness {
    /// The pauses begin again after one success.
    AtOnce,
    /// The pauses begin again after a success that is later than this time since the last pause began.
    After(Duration),
}

/// Meaning of results that arrive in a pause, of calls that began before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateResults {
    /// A success closes the breaker, and a failure lengthens the pause.
    Count,
    /// The result is ignored: such a call belongs to the failures that began the pause.
    Ignore,
}

/// State of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// Every call is permitted.
    Closed,
    /// A probe is running, and no other call is permitted.
    HalfOpen,
    /// No call is permitted before the pause is over. The first one after it is the probe.
    Open,
}

/// Reasons why a failure is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// True for too many failures in a row.
    pub in_a_row: bool,
    /// True for too many failures in the window.
    pub in_window: bool,
}

impl Pauses {
    /// Length of the pause number `step`, from 1. `jitter` is from 0 to 1.
    pub fn pause(&self, step: u32, jitter: f64) -> Duration {
        let index = step.saturating_sub(1);
        let whole = match self.steps {
            Steps::Listed(steps) => {
                let index = usize::try_from(index).unwrap_or(usize::MAX).min(steps.len().saturating_sub(1));
                steps.get(index).copied().unwrap_or_default()
            }
            Steps::Doubling { first, max } => first.saturating_mul(1 << index.min(16)).min(max),
        };
        let share = self.share_min + (self.share_max - self.share_min) * jitter.clamp(0.0, 1.0);
        whole.mul_f64(share).max(self.shortest)
    }
}

/// Breaker of one thing that can fail.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: BreakerSettings,
    /// Failures in a row since the breaker closed.
    failures: u32,
    window: Window,
    is_open: bool,
    /// End of the latest pause, until a success; `None` without one.
    pause_end: Option<Duration>,
    /// Pauses since the last forgiveness.
    pauses: u32,
    is_probing: bool,
    last_failure: Duration,
    last_pause: Option<Duration>,
}

impl Breaker {
    /// Creates a closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            failures: 0,
            window: Window::default(),
            is_open: false,
            pause_end: None,
            pauses: 0,
            is_probing: false,
            last_failure: Duration::ZERO,
            last_pause: None,
        }
    }

    /// Present state.
    pub fn state(&self) -> BreakerState {
        match self {
            Self { is_probing: true, .. } => BreakerState::HalfOpen,
            Self { is_open: true, .. } => BreakerState::Open,
            Self { .. } => BreakerState::Closed,
        }
    }

    /// Returns true if failures opened the breaker and no success has closed it again.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Returns true while a probe is running.
    pub fn is_probing(&self) -> bool {
        self.is_probing
    }

    /// Monotonic time from which the next call is permitted; `None` while a probe is running, because its result decides.
    pub fn permits_from(&self) -> Option<Duration> {
        (!self.is_probing).then(|| self.pause_end.unwrap_or_default())
    }

    /// Time that a call still has to wait; `None` if it is permitted now. Zero while a probe is running.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        match self.permits_from() {
            None => Some(Duration::ZERO),
            Some(from) => from.checked_sub(now).filter(|wait| !wait.is_zero()),
        }
    }

    /// Records that a permitted call begins. While the breaker is open, this call is the probe.
    pub fn begin(&mut self) {
        self.is_probing = self.is_open;
    }

    /// Records that a probe ended without a result. Another probe may follow.
    pub fn end_probe(&mut self) {
        self.is_probing = false;
    }

    /// Records a success. Returns true if the success closed the breaker.
    pub fn succeeded(&mut self, now: Duration) -> bool {
        if let Some(settings) = self.settings.window {
            self.window.push(settings, false);
        }
        if self.settings.late_results == LateResults::Ignore && self.is_paused(now) {
            return false;
        }
        self.failures = 0;
        self.is_probing = false;
        self.pause_end = None;
        let is_forgiven = match self.settings.forgiveness {
            Forgiveness::AtOnce => true,
            Forgiveness::After(peace) => self.last_pause.is_some_and(|last| now.saturating_sub(last) > peace),
        };
        if is_forgiven {
            self.pauses = 0;
        }
        std::mem::take(&mut self.is_open)
    }

    /// Records a failure, and returns the pause that it began. `jitter` is from 0 to 1.
    pub fn failed(&mut self, now: Duration, jitter: f64) -> Option<Duration> {
        if self.settings.late_results == LateResults::Ignore && self.is_paused(now) {
            return None;
        }
        let is_too_many = self.is_open || {
            let Excess { in_a_row, in_window } = self.count_failure(now);
            in_a_row || in_window
        };
        is_too_many.then(|| self.open(now, jitter))
    }

    /// Counts a failure without opening, for callers that decide between several breakers.
    pub fn count_failure(&mut self, now: Duration) -> Excess {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = now;
        let in_window = self.settings.window.is_some_and(|settings| self.window.push(settings, true));
        Excess { in_a_row: self.failures >= self.settings.failures_max, in_window }
    }

    /// Sets the failures in a row to zero, because another breaker counts them.
    pub fn reset_failures(&mut self) {
        self.failures = 0;
    }

    /// Begins a pause and returns its length. A longer pause that is running continues.
    pub fn open(&mut self, now: Duration, jitter: f64) -> Duration {
        self.pauses = self.pauses.saturating_add(1);
        let pause = self.settings.pauses.pause(self.pauses, jitter);
        self.failures = 0;
        self.is_open = true;
        self.is_probing = false;
        self.last_failure = now;
        self.last_pause = Some(now);
        self.pause_end = Some(self.pause_end.map_or(now + pause, |end| end.max(now + pause)));
        pause
    }

    /// Returns true if the breaker may be removed: it has no failures, or its last failure is longer ago than `peace`.
    pub fn is_removable(&self, now: Duration, peace: Duration) -> bool {
        (self.failures == 0 && self.pauses == 0) || now.saturating_sub(self.last_failure) > peace
    }

    /// Window of the last calls.
    pub fn window(&self) -> &Window {
        &self.window
    }

    fn is_paused(&self, now: Duration) -> bool {
        self.pause_end.is_some_and(|end| now < end)
    }
}

/// Results of the last calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// One bit for each call, set for a failure. The lowest bit is the latest call.
    recent: u64,
    calls: u32,
    is_exhausted: bool,
}

impl Window {
    /// Adds a call. Returns true if there are too many failures now.
    fn push(&mut self, settings: WindowSettings, is_failure: bool) -> bool {
        self.recent = (self.recent << 1 | u64::from(is_failure)) & ((1 << settings.calls) - 1);
        self.calls = (self.calls + 1).min(settings.calls);
        let is_exceeded = self.failures() >= settings.failures_max;
        self.is_exhausted = is_exceeded || (self.is_exhausted && self.failures() >= settings.failures_max / 2);
        is_failure && is_exceeded
    }

    /// Number of failures in the window.
    pub fn failures(&self) -> u32 {
        self.recent.count_ones()
    }

    /// Number of calls in the window.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// Returns true from too many failures on, until the window has fewer than half as many.
    pub fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings(failures_max: u32, late_results: LateResults) -> BreakerSettings {
        BreakerSettings {
            failures_max,
            window: None,
            pauses: Pauses {
                steps: Steps::Doubling { first: SECOND, max: 30 * SECOND },
                share_min: 1.0,
                share_max: 1.25,
                shortest: Duration::ZERO,
            },
            forgiveness: Forgiveness::AtOnce,
            late_results,
        }
    }

    #[test]
    fn pauses_grow_by_their_steps_and_stay_within_their_bounds() {
        const LISTED: [Duration; 2] = [SECOND, Duration::from_secs(5)];
        let listed = Pauses { steps: Steps::Listed(&LISTED), ..settings(1, LateResults::Count).pauses };
        assert_eq!([1, 2, 3, u32::MAX].map(|step| listed.pause(step, 0.0).as_secs()), [1, 5, 5, 5]);
        let doubling = settings(1, LateResults::Count).pauses;
        assert_eq!([1, 2, 3, 5, 6, u32::MAX].map(|step| doubling.pause(step, 0.0).as_secs()), [1, 2, 4, 16, 30, 30]);
        assert_eq!(doubling.pause(1, 1.0), Duration::from_millis(1_250));
        let full = Pauses { share_min: 0.0, share_max: 1.0, shortest: SECOND / 2, ..doubling };
        assert_eq!((full.pause(3, 0.5), full.pause(3, 0.0)), (2 * SECOND, SECOND / 2));
    }

    #[test]
    fn a_share_of_the_window_opens_it_although_calls_work_in_between() {
        let window = Some(WindowSettings { calls: 10, failures_max: 3 });
        let mut breaker = Breaker::new(BreakerSettings { window, ..settings(100, LateResults::Ignore) });
        for _ in 0..2 {
            assert_eq!(breaker.failed(SECOND, 0.0), None);
            breaker.succeeded(SECOND);
        }
        assert_eq!((breaker.failed(SECOND, 0.0), breaker.window().is_exhausted()), (Some(SECOND), true));
        for _ in 0..10 {
            breaker.succeeded(10 * SECOND);
        }
        assert_eq!((breaker.state(), breaker.window().failures(), breaker.window().is_exhausted()), (BreakerState::Closed, 0, false));
    }

    #[test]
    fn late_results_count_or_not_as_the_settings_say() {
        for (late_results, state, pause_end) in
            [(LateResults::Count, BreakerState::Closed, 4), (LateResults::Ignore, BreakerState::Open, 2)]
        {
            let mut breaker = Breaker::new(settings(1, late_results));
            assert_eq!(breaker.failed(SECOND, 0.0), Some(SECOND));
            breaker.failed(2 * SECOND - SECOND / 2, 0.0);
            assert!(breaker.permits_from() >= Some(2 * SECOND) && breaker.permits_from() <= Some(pause_end * SECOND), "{breaker:?}");
            breaker.succeeded(2 * SECOND - SECOND / 2);
            assert_eq!(breaker.state(), state, "{late_results:?}");
        }
    }

    /// Event at a breaker: the attempt of a call, or the result of a running call.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Call,
        Success,
        Failure(f64),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Call),
            2 => Just(Step::Success),
            3 => (0.0..=1.0).prop_map(Step::Failure),
            2 => (0_u64..60_000).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        /// There are never two probes, and no call during a pause. Pauses stay within their bounds, and every state can be left.
        #[test]
        fn a_breaker_follows_its_rules_in_every_order_of_events(
            steps in steps(),
            failures_max in 1_u32..5,
            window in proptest::option::of((2_u32..63).prop_map(|calls| WindowSettings { calls, failures_max: 1 + calls / 5 })),
            late_results in prop_oneof![Just(LateResults::Count), Just(LateResults::Ignore)],
            forgiveness in prop_oneof![Just(Forgiveness::AtOnce), Just(Forgiveness::After(60 * SECOND))],
        ) {
            let mut breaker = Breaker::new(BreakerSettings { window, forgiveness, ..settings(failures_max, late_results) });
            let (mut now, mut under_way, mut in_a_row) = (Duration::ZERO, 0_u32, 0_u32);
            for step in steps {
                let before = (breaker.state(), breaker.permits_from());
                match step {
                    Step::Wait(millis) => now += Duration::from_millis(millis),
                    Step::Call if breaker.wait(now).is_none() => {
                        prop_assert!(!breaker.is_probing());
                        prop_assert!(breaker.permits_from().is_some_and(|from| from <= now));
                        breaker.begin();
                        under_way += 1;
                        prop_assert_eq!(breaker.is_probing(), breaker.is_open(), "a call while it is open is the probe");
                    }
                    Step::Success if under_way > 0 => {
                        under_way -= 1;
                        let closed = breaker.succeeded(now);
                        prop_assert!(!closed || before.0 != BreakerState::Closed, "only an open one can close");
                        in_a_row = 0;
                    }
                    Step::Failure(jitter) if under_way > 0 => {
                        under_way -= 1;
                        in_a_row += 1;
                        let pause = breaker.failed(now, jitter);
                        if let Some(pause) = pause {
                            prop_assert!((SECOND..=30 * SECOND * 5 / 4).contains(&pause), "{:?}", pause);
                            prop_assert!(breaker.wait(now) >= Some(pause), "a longer pause may be under way");
                            prop_assert_eq!(breaker.state(), BreakerState::Open);
                        }
                        prop_assert!(in_a_row < failures_max || breaker.is_open());
                    }
                    Step::Call | Step::Success | Step::Failure(_) => {}
                }
                prop_assert!(before.0 != BreakerState::Closed || breaker.state() != BreakerState::HalfOpen, "only an open one is probed");
            }
            // From everywhere one success after the pause closes it.
            breaker.end_probe();
            now = now.max(breaker.permits_from().unwrap_or_default());
            prop_assert_eq!(breaker.wait(now), None);
            breaker.begin();
            let was_open = breaker.is_open();
            prop_assert_eq!(breaker.succeeded(now), was_open);
            prop_assert_eq!((breaker.state(), breaker.wait(now)), (BreakerState::Closed, None));
        }

        /// Failures of one probe after the other lengthen the pauses, never shorten them.
        #[test]
        fn pauses_never_shrink_while_probes_fail(jitter in 0.0_f64..=1.0, probes in 1_usize..40) {
            let mut breaker = Breaker::new(settings(1, LateResults::Ignore));
            let (mut now, mut last) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..probes {
                breaker.begin();
                let pause = breaker.failed(now, jitter).expect("each failure of a probe begins a pause");
                prop_assert!(pause >= last);
                (now, last) = (now + pause, pause);
            }
        }
    }
}
