//! The room of one plugin in the book: open alerts, the bytes of their texts, and new alerts in time.
//!
//! A plugin that changes a label at each evaluation would otherwise open thousands of alerts a minute: each is stored, recorded and
//! sent, and alerts of other plugins wait behind them.

use std::{iter::Sum, time::Duration};

use super::{Alert, AlertKey};
use crate::{finding::Finding, subject::Label};

/// Open alerts of one rule about one subject, the summary aside. Open alerts stay; a new alert waits until another one ends.
pub const ALERTS_PER_RULE_MAX: usize = 1_000;
/// Open alerts of one plugin about one subject, summaries aside.
pub const ALERTS_PER_SUBJECT_MAX: usize = 10_000;
/// Open alerts of one plugin about all subjects, summaries aside: a thousand servers with fifty alerts each.
pub const ALERTS_PER_PLUGIN_MAX: usize = 50_000;
/// Bytes of labels and texts of one plugin's open alerts. An alert of the shipped plugins takes one or two KiB.
pub const BYTES_PER_PLUGIN_MAX: usize = 64 << 20;
/// New alerts of one plugin at once, after a calm time.
pub const NEW_AT_ONCE_MAX: u32 = 20_000;
/// New alerts of one plugin that a minute adds to the room, up to [`NEW_AT_ONCE_MAX`].
const NEW_PER_MINUTE: f64 = 60.0;
/// New alerts that a minute adds for each subject with alerts: a fleet has more trouble than one server.
const NEW_PER_MINUTE_AND_SUBJECT: f64 = 10.0;
/// The texts of a finding are cut to this many bytes where the plugin's room for bytes is used up.
const CUT_TEXT_BYTES_MAX: usize = 200;
/// Names, numbers and pointers of an alert, apart from its labels and texts.
const ALERT_BYTES: usize = 500;

/// New alerts that one plugin may still open. The room is full at the start of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    new: f64,
    /// Monotonic: when `new` was last filled up.
    at: Duration,
}

impl Allowance {
    pub fn full(now: Duration) -> Self {
        Self { new: f64::from(NEW_AT_ONCE_MAX), at: now }
    }

    /// Adds what the time since the last call brings, for a plugin that has alerts about so many subjects.
    fn fill(&mut self, subjects: usize, now: Duration) {
        let minutes = now.saturating_sub(self.at).as_secs_f64() / 60.0;
        let per_minute = NEW_PER_MINUTE + NEW_PER_MINUTE_AND_SUBJECT * subjects as f64;
        self.new = per_minute.mul_add(minutes, self.new).min(f64::from(NEW_AT_ONCE_MAX));
        self.at = self.at.max(now);
    }

    /// New alerts that one rule may open in one evaluation: half of what is left, so that one rule never takes all from the others.
    fn of_rule(self) -> usize {
        (self.new / 2.0).ceil() as usize
    }
}

/// What open alerts take of the room.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Alerts, summaries aside.
    open: usize,
    /// Labels and texts.
    bytes: usize,
}

impl Size {
    /// The labels are there twice: in the alert and in the key that finds it.
    pub fn of(key: &AlertKey, alert: &Alert) -> Self {
        let Alert { labels, evidence, title, detail, cause, fix, .. } = alert;
        let bytes = bytes(key.labels.iter().chain(labels).chain(evidence), [Some(title), Some(detail), cause.as_ref(), fix.as_ref()]);
        Self { open: usize::from(!key.is_summary()), bytes }
    }

    fn plus(self, other: Self) -> Self {
        Self { open: self.open.saturating_add(other.open), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

impl Sum for Size {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self::default(), Self::plus)
    }
}

/// What is left to the alerts about one subject.
#[derive(Debug)]
pub(super) struct Room<'a> {
    allowance: &'a mut Allowance,
    /// The plugin's alerts about other subjects.
    elsewhere: Size,
}

/// Counts new alerts against all bounds, in the order of their admission.
pub(super) struct Admission<'a, 'b> {
    room: &'a mut Room<'b>,
    of_rule_max: usize,
    /// The alerts about this subject.
    here: Size,
}

/// What one rule has so far.
#[derive(Debug, Default)]
pub(super) struct OfRule {
    pub open: usize,
    new: usize,
}

impl<'a, 'b> Admission<'a, 'b> {
    pub fn new(room: &'a mut Room<'b>, here: Size) -> Self {
        Self { of_rule_max: room.allowance.of_rule(), room, here }
    }

    /// Whether a new alert of this rule has room; if so, it is counted.
    pub fn admits(&mut self, of_rule: &mut OfRule, finding: &Finding) -> bool {
        let here = self.here.plus(Size { open: 1, bytes: bytes_of_finding(finding) });
        let of_plugin = here.plus(self.room.elsewhere);
        let fits = of_rule.open < ALERTS_PER_RULE_MAX
            && of_rule.new < self.of_rule_max
            && here.open <= ALERTS_PER_SUBJECT_MAX
            && of_plugin.open <= ALERTS_PER_PLUGIN_MAX
            && of_plugin.bytes <= BYTES_PER_PLUGIN_MAX
            && self.room.allowance.new >= 1.0;
        if fits {
            (of_rule.open, of_rule.new, self.here) = (of_rule.open + 1, of_rule.new + 1, here);
            self.room.allowance.new -= 1.0;
        }
        fits
    }
}

impl<'a> Room<'a> {
    /// Fills the allowance up first.
    pub fn new(allowance: &'a mut Allowance, elsewhere: &[Size], now: Duration) -> Self {
        allowance.fill(elsewhere.len() + 1, now);
        Self { allowance, elsewhere: elsewhere.iter().copied().sum() }
    }

    /// Cuts the texts of findings that would take more bytes than the plugin has. Labels stay: they say which alert it is.
    pub fn cut_texts<'f>(&self, findings: impl Iterator<Item = &'f mut Finding>) {
        let mut bytes = self.elsewhere.bytes;
        for finding in findings {
            bytes = bytes.saturating_add(bytes_of_finding(finding));
            if bytes > BYTES_PER_PLUGIN_MAX {
                bytes = bytes.saturating_sub(bytes_of_finding(finding));
                cut(finding);
                bytes = bytes.saturating_add(bytes_of_finding(finding));
            }
        }
    }
}

/// A long cause or fix goes as a whole: half a command may do harm.
fn cut(finding: &mut Finding) {
    finding.evidence = Vec::new();
    if finding.detail.len() > CUT_TEXT_BYTES_MAX {
        finding.detail.truncate(finding.detail.floor_char_boundary(CUT_TEXT_BYTES_MAX));
        finding.detail.push('…');
    }
    for text in [&mut finding.cause, &mut finding.fix] {
        text.take_if(|text| text.len() > CUT_TEXT_BYTES_MAX);
    }
}

fn bytes_of_finding(finding: &Finding) -> usize {
    let Finding { labels, evidence, title, detail, cause, fix, .. } = finding;
    bytes(labels.iter().chain(evidence), [Some(title), Some(detail), cause.as_ref(), fix.as_ref()])
}

fn bytes<'a>(labels: impl Iterator<Item = &'a Label>, texts: [Option<&String>; 4]) -> usize {
    let labels = labels.map(|label| label.name.len() + label.value.len()).sum::<usize>();
    ALERT_BYTES + labels + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests;
