//! Whether a plugin may be called: its error budget, quarantine, and the way back.
//!
//! Pure: time is an argument. Three offences in a row quarantine a plugin, and so do ten among its last fifty calls: one that traps now
//! and then would otherwise serve for ever. The pause doubles each time, and one probe that works ends it. A plugin whose offences are all
//! about one server or receiver is kept from that one alone, since the others must not go unjudged.

use std::collections::BTreeMap;
use std::time::Duration;

/// Offences in a row that a plugin may commit.
const OFFENCES_MAX: u32 = 3;
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A plugin that behaved for this long begins with the shortest pause again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3_600);

/// What an offence led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Tolerated,
    /// Not called for this long.
    Quarantined(Duration),
    /// Not called for this long about what the call was about; called about everything else.
    KeptFrom(Duration),
}

/// The record of one generation.
#[derive(Debug, Clone, Default)]
pub struct Health {
    plugin: Streak,
    budget: Budget,
    /// Servers and receivers that calls about them failed.
    about: BTreeMap<String, Streak>,
    /// What the latest call that worked was about.
    works_about: Option<String>,
}

impl Health {
    /// Whether it may be called now about this server or receiver; if not, for how long.
    pub fn may_call(&mut self, about: &str, now: Duration) -> Result<(), Duration> {
        let kept_from = self.about.get_mut(about);
        let left = self.plugin.left(now).or_else(|| kept_from.as_ref().and_then(|streak| streak.left(now)));
        if let Some(left) = left {
            return Err(left);
        }
        // Only now, since a probe that is not made after all would keep others from probing.
        self.plugin.begin();
        if let Some(streak) = kept_from {
            streak.begin();
        }
        Ok(())
    }

    pub fn is_quarantined(&self) -> bool {
        self.plugin.is_quarantined()
    }

    /// Whether it is called, and fails too often to be called healthy.
    pub fn is_failing(&self) -> bool {
        self.budget.is_spent || self.about.values().any(Streak::is_quarantined)
    }

    /// How it fails, in words that follow the plugin's name.
    pub fn failings(&self) -> Option<String> {
        const NAMED_MAX: usize = 3;
        let kept_from: Vec<&str> =
            self.about.iter().filter(|(_, streak)| streak.is_quarantined()).map(|(about, _)| about.as_str()).collect();
        let named = kept_from.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        match kept_from.len().saturating_sub(NAMED_MAX) {
            _ if self.budget.is_spent => Some(format!("failed in {} of its last {} calls", self.budget.offences(), self.budget.calls)),
            _ if kept_from.is_empty() => None,
            0 => Some(format!("fails whenever it is called about {named}, and is not called about that for a while")),
            more => Some(format!("fails whenever it is called about {named} and {more} others, and is not called about them for a while")),
        }
    }

    /// A call worked. True when that ended a quarantine, or made a failing plugin a healthy one.
    pub fn worked(&mut self, about: &str, now: Duration) -> bool {
        let was_failing = self.is_failing();
        self.works_about = Some(about.to_owned());
        let ended = self.plugin.worked(now);
        self.budget.count(false);
        if let Some(streak) = self.about.get_mut(about) {
            streak.worked(now);
        }
        self.forget(now);
        ended || (was_failing && !self.is_failing())
    }

    /// A call failed through the plugin's own fault. `jitter` from 0 to 1 spreads the pauses of several plugins.
    pub fn offended(&mut self, about: &str, now: Duration, jitter: f64) -> Verdict {
        self.forget(now);
        if self.plugin.is_probing {
            // The call may have been the probe of both.
            if let Some(streak) = self.about.get_mut(about).filter(|streak| streak.is_probing) {
                streak.pause(now, jitter);
            }
            return Verdict::Quarantined(self.plugin.pause(now, jitter));
        }
        let is_kept_from_others = self.about.iter().any(|(other, streak)| other != about && streak.is_quarantined());
        let streak = self.about.entry(about.to_owned()).or_default();
        if streak.is_probing {
            // What is known to fail says nothing new of the rest.
            return Verdict::KeptFrom(streak.pause(now, jitter));
        }
        // Calls that were under way when the pause began are part of what began it.
        if self.plugin.left(now).is_some() || streak.left(now).is_some() {
            return Verdict::Tolerated;
        }
        let is_exceeded = self.budget.count(true);
        let (in_a_row, about_it) = (self.plugin.offended(now), streak.offended(now));
        // One that works about something else is kept from this alone, even where nothing else was asked of it meanwhile.
        let is_of_this_alone = about_it && !is_kept_from_others && self.works_about.as_ref().is_some_and(|works| works != about);
        if is_of_this_alone {
            self.plugin.offences = 0;
        }
        if (in_a_row && !is_of_this_alone) || is_exceeded {
            self.about.remove(about);
            return Verdict::Quarantined(self.plugin.pause(now, jitter));
        }
        if about_it { Verdict::KeptFrom(streak.pause(now, jitter)) } else { Verdict::Tolerated }
    }

    /// A server that is gone is not probed again, and one that works needs no record.
    fn forget(&mut self, now: Duration) {
        self.about.retain(|_, streak| !streak.is_forgiven(now));
    }
}

/// Offences among the last calls.
#[derive(Debug, Clone, Copy, Default)]
struct Budget {
    /// One bit a call, the latest last: whether it failed.
    recent: u64,
    calls: u32,
    /// It was exceeded, and less than half of it was used since.
    is_spent: bool,
}

/// Calls that the budget is for, and how many of them may fail: a fifth is too many.
const BUDGET_CALLS: u32 = 50;
const BUDGET_OFFENCES: u32 = BUDGET_CALLS / 5;

impl Budget {
    /// Counts a call. True when it is one offence too many.
    fn count(&mut self, is_offence: bool) -> bool {
        self.recent = (self.recent << 1 | u64::from(is_offence)) & ((1 << BUDGET_CALLS) - 1);
        self.calls = (self.calls + 1).min(BUDGET_CALLS);
        let is_exceeded = self.offences() >= BUDGET_OFFENCES;
        self.is_spent = is_exceeded || (self.is_spent && self.offences() >= BUDGET_OFFENCES / 2);
        is_offence && is_exceeded
    }

    fn offences(&self) -> u32 {
        self.recent.count_ones()
    }
}

/// Offences in a row, and the pauses that they led to.
#[derive(Debug, Clone, Default)]
struct Streak {
    offences: u32,
    last_offence: Duration,
    quarantines: u32,
    quarantined_until: Option<Duration>,
    /// A probe is under way: nobody else calls meanwhile.
    is_probing: bool,
    last_quarantine: Option<Duration>,
}

impl Streak {
    /// How long there may be no call; none if there may be one.
    fn left(&self, now: Duration) -> Option<Duration> {
        match self.quarantined_until? {
            until if now < until => Some(until - now),
            _ => self.is_probing.then_some(Duration::ZERO),
        }
    }

    /// The first call after a pause is the probe.
    fn begin(&mut self) {
        self.is_probing = self.is_quarantined();
    }

    fn is_quarantined(&self) -> bool {
        self.quarantined_until.is_some()
    }

    /// True when that ended a quarantine. A call that was under way when the pause began ends none.
    fn worked(&mut self, now: Duration) -> bool {
        if self.quarantined_until.is_some_and(|until| now < until) {
            return false;
        }
        self.offences = 0;
        self.is_probing = false;
        if self.last_quarantine.is_some_and(|last| now.saturating_sub(last) > FORGIVEN_AFTER) {
            self.quarantines = 0;
        }
        self.quarantined_until.take().is_some()
    }

    /// True when there were too many in a row.
    fn offended(&mut self, now: Duration) -> bool {
        self.offences += 1;
        self.last_offence = now;
        self.offences >= OFFENCES_MAX
    }

    /// Begins a pause, twice as long as the one before.
    fn pause(&mut self, now: Duration, jitter: f64) -> Duration {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.quarantines.min(16)).min(PAUSE_MAX).mul_f64(1.0 + jitter / 4.0);
        self.quarantines += 1;
        self.offences = 0;
        self.is_probing = false;
        self.last_offence = now;
        self.last_quarantine = Some(now);
        self.quarantined_until = Some(now + pause);
        pause
    }

    /// Whether nothing of it matters any more.
    fn is_forgiven(&self, now: Duration) -> bool {
        let is_clean = self.offences == 0 && self.quarantines == 0;
        is_clean || now.saturating_sub(self.last_offence) > FORGIVEN_AFTER
    }
}
