//! Whether a plugin may be called: its error budget, quarantine, and the way back.
//!
//! Pure: time is an argument. Three offences in a row quarantine a plugin; the pause doubles each time; one probe that works ends it.

use std::time::Duration;

/// Offences in a row that a plugin may commit.
const OFFENCES_MAX: u32 = 3;
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A plugin that behaved for this long begins with the shortest pause again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3_600);

/// The record of one generation.
#[derive(Debug, Clone, Default)]
pub struct Health {
    offences: u32,
    quarantines: u32,
    quarantined_until: Option<Duration>,
    /// A probe is under way: nobody else calls meanwhile.
    probing: bool,
    last_quarantine: Option<Duration>,
}

/// What an offence led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Tolerated,
    /// Not called for this long.
    Quarantined(Duration),
}

impl Health {
    /// Whether it may be called now; if not, for how long.
    pub fn may_call(&mut self, now: Duration) -> Result<(), Duration> {
        match self.quarantined_until {
            None => Ok(()),
            Some(until) if now < until => Err(until - now),
            // The first call after the pause is the probe.
            Some(_) if !self.probing => {
                self.probing = true;
                Ok(())
            }
            Some(_) => Err(Duration::ZERO),
        }
    }

    pub fn is_quarantined(&self) -> bool {
        self.quarantined_until.is_some()
    }

    /// A call worked. True when that ended a quarantine.
    pub fn worked(&mut self, now: Duration) -> bool {
        self.offences = 0;
        self.probing = false;
        if self.last_quarantine.is_some_and(|last| now.saturating_sub(last) > FORGIVEN_AFTER) {
            self.quarantines = 0;
        }
        self.quarantined_until.take().is_some()
    }

    /// A call failed through the plugin's own fault. `jitter` from 0 to 1 spreads the pauses of several plugins.
    pub fn offended(&mut self, now: Duration, jitter: f64) -> Verdict {
        self.offences += 1;
        let probe_failed = std::mem::take(&mut self.probing);
        if self.offences < OFFENCES_MAX && !probe_failed {
            return Verdict::Tolerated;
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << self.quarantines.min(16)).min(PAUSE_MAX).mul_f64(1.0 + jitter / 4.0);
        self.quarantines += 1;
        self.offences = 0;
        self.last_quarantine = Some(now);
        self.quarantined_until = Some(now + pause);
        Verdict::Quarantined(pause)
    }
}
