//! The model: one label set, and all that was ever said of it.
//!
//! It keeps no clock: it remembers what was said since a state began, and adds up the stretches that count. Flapping it computes as Nagios
//! writes it, from the whole list of verdicts.

use super::{Day, Seen};
use crate::alert::state::AlertState;
use crate::alert::state::AlertState::{Firing, Inactive, Pending, Recovering, Resolved};
use crate::finding::Severity;

/// What one event says about one label set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Told {
    Judged(Seen),
    /// An evaluation that could not look, whether its series was there at least, and whether the rule was silent about it.
    Unknown {
        there: bool,
        silent: bool,
    },
    /// An evaluation that found all but the series, in a reading of this second.
    Missing {
        read_s: u64,
        silent: bool,
    },
    /// Nobody was asked.
    Nothing,
    Restart,
}

pub(super) struct Simple {
    pub state: AlertState,
    severity: Severity,
    pub flapping: bool,
    /// Since when, and how many evaluations.
    pub frozen: Option<(u64, u32)>,
    /// Readings in a row that lacked the series.
    pub missing: u32,
    latest_missing_s: Option<u64>,
    /// Neither seen nor missed since a restart.
    unseen: bool,
    /// Since the state began.
    said: Vec<(u64, Told)>,
    /// From the first one on.
    verdicts: Vec<Option<Severity>>,
}

type Change = (AlertState, AlertState, &'static str, Severity);

impl Simple {
    pub(super) fn new() -> Self {
        Self {
            state: Inactive,
            severity: Severity::Info,
            flapping: false,
            frozen: None,
            missing: 0,
            latest_missing_s: None,
            unseen: false,
            said: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, at_s: u64, told: Told, day: &Day) -> Vec<Change> {
        self.said.push((at_s, told));
        let mut changes = Vec::new();
        match told {
            Told::Judged(seen) => {
                self.frozen = None;
                self.seen();
                self.judge(seen, day, &mut changes);
            }
            Told::Unknown { silent: true, .. } | Told::Missing { silent: true, .. } if self.state == Inactive => self.verdicts.push(None),
            _ if self.state == Inactive => {}
            _ => self.stand_still(at_s, told, &mut changes),
        }
        if let Some(to) = changes.last().map(|(_, to, ..)| *to) {
            if changes.iter().any(|(from, to, ..)| from != to) {
                self.said = vec![(at_s, told)];
            }
            self.state = if to == Resolved { Inactive } else { to };
        }
        if self.state == Inactive {
            (self.frozen, self.flapping) = (None, false);
            self.seen();
        }
        changes
    }

    fn seen(&mut self) {
        (self.missing, self.latest_missing_s, self.unseen) = (0, None, false);
    }

    fn stand_still(&mut self, at_s: u64, told: Told, changes: &mut Vec<Change>) {
        let (since_s, evaluations) = self.frozen.unwrap_or((at_s, 0));
        let evaluations = match told {
            Told::Restart => 0,
            Told::Nothing => evaluations,
            _ => evaluations + 1,
        };
        self.frozen = Some((since_s, evaluations));
        match told {
            Told::Restart => (self.latest_missing_s, self.unseen) = (None, true),
            Told::Unknown { there: true, .. } => self.seen(),
            Told::Missing { read_s, .. } => {
                let counts = !self.unseen && self.latest_missing_s.is_none_or(|latest| latest < read_s);
                self.missing += u32::from(counts);
                (self.latest_missing_s, self.unseen) = (Some(read_s), false);
                if self.missing == 3 {
                    let to = if self.state == Pending { Inactive } else { Resolved };
                    changes.push((self.state, to, "gone", self.severity));
                    self.verdicts.clear();
                }
            }
            Told::Unknown { .. } | Told::Nothing | Told::Judged(_) => {}
        }
    }

    fn judge(&mut self, seen: Seen, day: &Day, changes: &mut Vec<Change>) {
        let raises = matches!(seen, Seen::Raise(_));
        let fires = match self.state {
            Inactive => raises && day.for_s == 0,
            Pending => raises && self.gathered(|seen| matches!(seen, Seen::Raise(_))) >= day.for_s,
            _ => false,
        };
        let was_told = matches!(self.state, Firing | Recovering);
        let latest = self.verdicts.last().copied().flatten();
        self.verdicts.push(match seen {
            Seen::Raise(severity) if was_told || fires => Some(severity),
            Seen::Hold(severity) if was_told => latest.map(|latest| latest.min(severity)),
            _ => None,
        });
        if was_told {
            self.flap(changes, seen, day);
            return;
        }
        let before = self.severity;
        match seen {
            Seen::Raise(severity) => self.severity = severity,
            Seen::Hold(severity) if self.state == Pending => self.severity = severity.min(before),
            _ => {}
        }
        match self.state {
            _ if fires => changes.push((self.state, Firing, "firing", self.severity)),
            Inactive if raises => changes.push((Inactive, Pending, "raised", self.severity)),
            Pending if seen == Seen::Clear => changes.push((Pending, Inactive, "cleared", before)),
            _ => {}
        }
    }

    /// It fires or recovers.
    fn flap(&mut self, changes: &mut Vec<Change>, seen: Seen, day: &Day) {
        let percent = self.percent();
        let was_flapping = self.flapping;
        if self.flapping && percent <= 20.0 {
            self.flapping = false;
            changes.push((self.state, self.state, "flapping-ended", self.severity));
        } else if percent >= 30.0 {
            self.flapping = true;
        }
        let before = self.severity;
        let said = match seen {
            Seen::Raise(severity) => severity,
            Seen::Hold(severity) => severity.min(before),
            _ => before,
        };
        self.severity = if self.flapping { said.max(before) } else { said };
        let cleared_s = if self.state == Recovering { self.gathered(|seen| seen == Seen::Clear) } else { 0 };
        let before_it = self.state;
        let mut enter = |to, why, severity| {
            let state = changes.last().map_or(before_it, |(_, to, ..)| *to);
            changes.push((state, to, why, severity));
            to
        };
        let mut state = self.state;
        if seen == Seen::Clear {
            if !self.flapping && cleared_s >= day.keep_firing_s && (self.state == Recovering || day.keep_firing_s == 0) {
                state = enter(Resolved, "resolved", before);
            } else if self.state == Firing {
                state = enter(Recovering, "recovering", before);
            }
        } else {
            if self.state == Recovering {
                state = enter(Firing, "returned", before);
            }
            if self.severity != before {
                state = enter(Firing, "severity-changed", self.severity);
            }
        }
        if self.flapping && !was_flapping {
            enter(state, "flapping-started", self.severity);
        }
    }

    /// Seconds that began with a verdict for which `agrees` holds and ended with an evaluation that happened.
    fn gathered(&self, agrees: fn(Seen) -> bool) -> u64 {
        let counts = |pair: &&[(u64, Told)]| {
            matches!(pair[0].1, Told::Judged(seen) if agrees(seen)) && !matches!(pair[1].1, Told::Nothing | Told::Restart)
        };
        self.said.windows(2).filter(counts).map(|pair| pair[1].0 - pair[0].0).sum()
    }

    /// Of the last 21 verdicts, clear before the first.
    fn percent(&self) -> f64 {
        let before = std::iter::repeat_n(None, 21_usize.saturating_sub(self.verdicts.len()));
        let states: Vec<_> = before.chain(self.verdicts[self.verdicts.len().saturating_sub(21)..].iter().copied()).collect();
        let changes = (1..21_u32).filter(|x| states[*x as usize] != states[*x as usize - 1]);
        let curved: f64 = changes.map(|x| f64::from(x - 1) * (1.25 - 0.75) / 19.0 + 0.75).sum();
        // Sums of fractions, which are compared with whole numbers.
        (curved * 100.0 / 20.0 * 1e6).round() / 1e6
    }
}
