//! A simple model of one label set with all its inputs.
//!
//! The model has no clock. It stores all inputs since a state began, and adds up the times that count. It computes flapping as Nagios does,
//! from the whole list of verdicts.

use super::{Day, Verdict};
use crate::alert::state::AlertState;
use crate::alert::state::AlertState::{Firing, Inactive, Pending, Recovering, Resolved};
use crate::finding::Severity;

/// One event, as it concerns one label set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Input {
    Judged(Verdict),
    /// An evaluation that could not judge. `there`: the series was there. `silent`: the rule reported neither a finding nor a skip.
    Unknown {
        there: bool,
        silent: bool,
    },
    /// An evaluation of a reading without the series. `read_s` is the second of the reading.
    Missing {
        read_s: u64,
        silent: bool,
    },
    /// No evaluation took place.
    Nothing,
    Restart,
}

pub(super) struct Simple {
    pub state: AlertState,
    severity: Severity,
    pub flapping: bool,
    /// The second since which the alert is frozen, and the number of evaluations since then.
    pub frozen: Option<(u64, u32)>,
    /// Number of readings in a row without the series.
    pub missing: u32,
    latest_missing_s: Option<u64>,
    /// True from a restart until the first reading.
    awaits_first_reading: bool,
    /// All inputs since the state began, with their seconds.
    inputs: Vec<(u64, Input)>,
    /// All verdicts, the oldest first.
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
            awaits_first_reading: false,
            inputs: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, at_s: u64, input: Input, day: &Day) -> Vec<Change> {
        self.inputs.push((at_s, input));
        let mut changes = Vec::new();
        match input {
            Input::Judged(verdict) => {
                self.frozen = None;
                self.reset_missing();
                self.judge(verdict, day, &mut changes);
            }
            Input::Unknown { silent: true, .. } | Input::Missing { silent: true, .. } if self.state == Inactive => self.verdicts.push(None),
            _ if self.state == Inactive => {}
            _ => self.freeze(at_s, input, &mut changes),
        }
        if let Some(to) = changes.last().map(|(_, to, ..)| *to) {
            if changes.iter().any(|(from, to, ..)| from != to) {
                self.inputs = vec![(at_s, input)];
            }
            self.state = if to == Resolved { Inactive } else { to };
        }
        if self.state == Inactive {
            (self.frozen, self.flapping) = (None, false);
            self.reset_missing();
        }
        changes
    }

    fn reset_missing(&mut self) {
        (self.missing, self.latest_missing_s, self.awaits_first_reading) = (0, None, false);
    }

    fn freeze(&mut self, at_s: u64, input: Input, changes: &mut Vec<Change>) {
        let (since_s, evaluations) = self.frozen.unwrap_or((at_s, 0));
        let evaluations = match input {
            Input::Restart => 0,
            Input::Nothing => evaluations,
            _ => evaluations + 1,
        };
        self.frozen = Some((since_s, evaluations));
        match input {
            Input::Restart => (self.latest_missing_s, self.awaits_first_reading) = (None, true),
            Input::Unknown { there: true, .. } => self.reset_missing(),
            Input::Missing { read_s, .. } => {
                let counts = !self.awaits_first_reading && self.latest_missing_s.is_none_or(|latest| latest < read_s);
                self.missing += u32::from(counts);
                (self.latest_missing_s, self.awaits_first_reading) = (Some(read_s), false);
                if self.missing == 3 {
                    let to = if self.state == Pending { Inactive } else { Resolved };
                    changes.push((self.state, to, "gone", self.severity));
                    self.verdicts.clear();
                }
            }
            Input::Unknown { .. } | Input::Nothing | Input::Judged(_) => {}
        }
    }

    fn judge(&mut self, verdict: Verdict, day: &Day, changes: &mut Vec<Change>) {
        let raises = matches!(verdict, Verdict::Raise(_));
        let fires = match self.state {
            Inactive => raises && day.for_s == 0,
            Pending => raises && self.gathered(|verdict| matches!(verdict, Verdict::Raise(_))) >= day.for_s,
            _ => false,
        };
        let was_sent = matches!(self.state, Firing | Recovering);
        let latest = self.verdicts.last().copied().flatten();
        self.verdicts.push(match verdict {
            Verdict::Raise(severity) if was_sent || fires => Some(severity),
            Verdict::Hold(severity) if was_sent => latest.map(|latest| latest.min(severity)),
            _ => None,
        });
        if was_sent {
            self.flap(changes, verdict, day);
            return;
        }
        let before = self.severity;
        match verdict {
            Verdict::Raise(severity) => self.severity = severity,
            Verdict::Hold(severity) if self.state == Pending => self.severity = severity.min(before),
            _ => {}
        }
        match self.state {
            _ if fires => changes.push((self.state, Firing, "firing", self.severity)),
            Inactive if raises => changes.push((Inactive, Pending, "raised", self.severity)),
            Pending if verdict == Verdict::Clear => changes.push((Pending, Inactive, "cleared", before)),
            _ => {}
        }
    }

    /// Judges an alert that is firing or recovering.
    fn flap(&mut self, changes: &mut Vec<Change>, verdict: Verdict, day: &Day) {
        let percent = self.percent();
        let was_flapping = self.flapping;
        if self.flapping && percent <= 20.0 {
            self.flapping = false;
            changes.push((self.state, self.state, "flapping-ended", self.severity));
        } else if percent >= 30.0 {
            self.flapping = true;
        }
        let before = self.severity;
        let latest = match verdict {
            Verdict::Raise(severity) => severity,
            Verdict::Hold(severity) => severity.min(before),
            _ => before,
        };
        self.severity = if self.flapping { latest.max(before) } else { latest };
        let cleared_s = if self.state == Recovering { self.gathered(|verdict| verdict == Verdict::Clear) } else { 0 };
        let before_it = self.state;
        let mut enter = |to, why, severity| {
            let state = changes.last().map_or(before_it, |(_, to, ..)| *to);
            changes.push((state, to, why, severity));
            to
        };
        let mut state = self.state;
        if verdict == Verdict::Clear {
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
    fn gathered(&self, agrees: fn(Verdict) -> bool) -> u64 {
        let counts = |pair: &&[(u64, Input)]| {
            matches!(pair[0].1, Input::Judged(verdict) if agrees(verdict)) && !matches!(pair[1].1, Input::Nothing | Input::Restart)
        };
        self.inputs.windows(2).filter(counts).map(|pair| pair[1].0 - pair[0].0).sum()
    }

    /// The percentage of changes among the last 21 verdicts. Verdicts before the first are clear.
    fn percent(&self) -> f64 {
        let before = std::iter::repeat_n(None, 21_usize.saturating_sub(self.verdicts.len()));
        let states: Vec<_> = before.chain(self.verdicts[self.verdicts.len().saturating_sub(21)..].iter().copied()).collect();
        let changes = (1..21_u32).filter(|x| states[*x as usize] != states[*x as usize - 1]);
        let curved: f64 = changes.map(|x| f64::from(x - 1) * (1.25 - 0.75) / 19.0 + 0.75).sum();
        // Sums of fractions, which are compared with whole numbers.
        (curved * 100.0 / 20.0 * 1e6).round() / 1e6
    }
}
