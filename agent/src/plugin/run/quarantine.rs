//! Quarantine: whether a plugin may be called, and when it may be called again.
//!
//! Pure: time is an argument. Three failures in a row quarantine a plugin. So do ten among its last fifty calls, since a plugin that traps
//! now and then would otherwise serve for ever. The pause doubles each time, and one probe that works ends it. If all
//! failures are about one server or receiver, the plugin is not called about that one alone: the others must not go unjudged.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::breaker::{Breaker, BreakerSettings, Excess, Forgiveness, LateResults, Pauses, Steps, Window, WindowSettings};

/// A plugin that behaved for this long begins with the shortest pause again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3_600);

/// Settings for the calls about one server or receiver.
const ABOUT_ONE: BreakerSettings = BreakerSettings {
    failures_max: 3,
    window: None,
    pauses: Pauses {
        steps: Steps::Doubling { first: Duration::from_secs(1), max: Duration::from_secs(300) },
        share_min: 1.0,
        share_max: 1.25,
        shortest: Duration::ZERO,
    },
    forgiveness: Forgiveness::After(FORGIVEN_AFTER),
    // Calls of one plugin run side by side.
    late_results: LateResults::Ignore,
};

/// Settings for all calls of a plugin. A fifth of the last calls is too many.
const ABOUT_ALL: BreakerSettings = BreakerSettings { window: Some(WindowSettings { calls: 50, failures_max: 10 }), ..ABOUT_ONE };

/// Consequence of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Tolerated,
    /// The plugin is not called for this long.
    Quarantined(Duration),
    /// The plugin is not called about the server or receiver of the failed call for this long. All other calls go on.
    SubjectPaused(Duration),
}

/// Record of one generation's calls.
#[derive(Debug, Clone)]
pub struct Health {
    plugin: Breaker,
    /// Servers and receivers about which calls failed.
    about: BTreeMap<String, Breaker>,
    /// Subject of the latest call that worked.
    works_about: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self { plugin: Breaker::new(ABOUT_ALL), about: BTreeMap::new(), works_about: None }
    }
}

impl Health {
    /// Whether the plugin may be called now about this server or receiver. If not, the error is how long it has to wait.
    pub fn may_call(&mut self, about: &str, now: Duration) -> Result<(), Duration> {
        let about = self.about.get_mut(about);
        let wait = self.plugin.wait(now).or_else(|| about.as_ref().and_then(|breaker| breaker.wait(now)));
        if let Some(wait) = wait {
            return Err(wait);
        }
        // Only now, since a probe that is not made after all would prevent every other probe.
        self.plugin.begin();
        if let Some(breaker) = about {
            breaker.begin();
        }
        Ok(())
    }

    /// Whether the plugin is not called at all.
    pub fn is_quarantined(&self) -> bool {
        self.plugin.is_open()
    }

    /// Whether the plugin is called, and fails too often to be called healthy.
    pub fn is_failing(&self) -> bool {
        self.window().is_exhausted() || self.about.values().any(Breaker::is_open)
    }

    fn window(&self) -> &Window {
        self.plugin.window()
    }

    /// Description of the failures, in words that follow the name of the plugin.
    pub fn failings(&self) -> Option<String> {
        /// Servers and receivers that are named. More would make the line unreadable.
        const NAMED_MAX: usize = 3;
        let kept_from: Vec<&str> = self.about.iter().filter(|(_, breaker)| breaker.is_open()).map(|(about, _)| about.as_str()).collect();
        let named = kept_from.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        match kept_from.len().saturating_sub(NAMED_MAX) {
            _ if self.window().is_exhausted() => {
                Some(format!("failed in {} of its last {} calls", self.window().failures(), self.window().calls()))
            }
            _ if kept_from.is_empty() => None,
            0 => Some(format!("fails whenever it is called about {named}, and is not called about that for a while")),
            more => Some(format!("fails whenever it is called about {named} and {more} others, and is not called about them for a while")),
        }
    }

    /// Notes a call that worked. True when it ended a quarantine, or made a failing plugin a healthy one.
    pub fn worked(&mut self, about: &str, now: Duration) -> bool {
        let was_failing = self.is_failing();
        self.works_about = Some(about.to_owned());
        let ended = self.plugin.succeeded(now);
        if let Some(breaker) = self.about.get_mut(about) {
            breaker.succeeded(now);
        }
        self.drop_forgettable(now);
        ended || (was_failing && !self.is_failing())
    }

    /// Notes a call that failed through the plugin's own fault. `jitter` from 0 to 1 spreads the pauses of several plugins.
    pub fn offended(&mut self, about: &str, now: Duration, jitter: f64) -> Verdict {
        self.drop_forgettable(now);
        if self.plugin.is_probing() {
            // The call may have been the probe of both.
            if let Some(breaker) = self.about.get_mut(about).filter(|breaker| breaker.is_probing()) {
                breaker.open(now, jitter);
            }
            return Verdict::Quarantined(self.plugin.open(now, jitter));
        }
        let is_kept_from_others = self.about.iter().any(|(other, breaker)| other != about && breaker.is_open());
        let breaker = self.about.entry(about.to_owned()).or_insert_with(|| Breaker::new(ABOUT_ONE));
        if breaker.is_probing() {
            // A failure about a subject that fails already says nothing about the other subjects.
            return Verdict::SubjectPaused(breaker.open(now, jitter));
        }
        // Calls that were under way when the pause began are part of what began it.
        if self.plugin.wait(now).is_some() || breaker.wait(now).is_some() {
            return Verdict::Tolerated;
        }
        let Excess { in_a_row, in_window } = self.plugin.count_failure(now);
        let about_it = breaker.count_failure(now).in_a_row;
        // A plugin that works for other subjects is only not called about this one, even if it was called about no other subject meanwhile.
        let is_of_this_alone = about_it && !is_kept_from_others && self.works_about.as_ref().is_some_and(|works| works != about);
        if is_of_this_alone {
            self.plugin.reset_failures();
        }
        if (in_a_row && !is_of_this_alone) || in_window {
            self.about.remove(about);
            return Verdict::Quarantined(self.plugin.open(now, jitter));
        }
        if about_it { Verdict::SubjectPaused(breaker.open(now, jitter)) } else { Verdict::Tolerated }
    }

    /// A server that is gone is not probed again, and a server about which calls work needs no record.
    fn drop_forgettable(&mut self, now: Duration) {
        self.about.retain(|_, breaker| !breaker.is_removable(now, FORGIVEN_AFTER));
    }
}
