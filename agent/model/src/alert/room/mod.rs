//! Limits of one plugin in the book: number of open alerts, bytes of their texts, and new alerts per time.
//!
//! A plugin that changes a label at each evaluation would otherwise open thousands of alerts a minute: each is stored, recorded and
//! sent, and alerts of other plugins wait behind them.

use std::iter::Sum;
use std::time::Duration;

use super::key::AlertKey;
use super::record::Alert;
use crate::finding::{Finding, Severity};
use crate::subject::Label;

/// Most open alerts of one rule about one subject, without the summary. Open alerts stay; a new alert waits until another one ends.
pub const ALERTS_PER_RULE_MAX: usize = 1_000;
/// Most open alerts of one plugin about one subject, without summaries.
pub const ALERTS_PER_SUBJECT_MAX: usize = 10_000;
/// Most open alerts of one plugin about all subjects, without summaries: a thousand servers with thirty alerts each.
pub const ALERTS_PER_PLUGIN_MAX: usize = 30_000;
/// Most bytes of labels and texts of one plugin's alerts. An alert of the shipped plugins takes one or two KiB. Beyond the limit an alert
/// keeps labels and title, and its other texts are replaced by [`TEXTS_LEFT_OUT`].
pub const BYTES_PER_PLUGIN_MAX: usize = 64 << 20;
/// Most new alerts that one plugin opens at once, after a time without new alerts.
pub const NEW_AT_ONCE_MAX: u32 = 20_000;
/// New alerts that each minute allows one plugin in addition, up to [`NEW_AT_ONCE_MAX`].
const NEW_PER_MINUTE: f64 = 60.0;
/// New alerts that each minute allows in addition for each subject with alerts, because many servers have more trouble than one.
const NEW_PER_MINUTE_AND_SUBJECT: f64 = 10.0;
/// The share of a plugin's room that only critical alerts may take, so that mild alerts never keep out the alert about an outage.
const FOR_CRITICAL: f64 = 0.1;
/// Replaces the texts of an alert for which there are no bytes left.
const TEXTS_LEFT_OUT: &str =
    "Texts are left out: the alerts of this plugin have no room for more. The first message about the alert had them.";
/// Estimated bytes of an alert without its labels and texts.
const ALERT_BYTES: usize = 500;

/// Number of new alerts that one plugin may still open. It starts at [`NEW_AT_ONCE_MAX`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    new: f64,
    /// Monotonic time of the last change of `new`.
    at: Duration,
}

impl Allowance {
    /// An allowance of [`NEW_AT_ONCE_MAX`] new alerts. `now` is monotonic.
    pub(super) fn full(now: Duration) -> Self {
        Self { new: f64::from(NEW_AT_ONCE_MAX), at: now }
    }

    /// Adds the new alerts that the time since the last call allows. `subjects` is the number of subjects with alerts of the plugin.
    fn fill(&mut self, subjects: usize, now: Duration) {
        let minutes = now.saturating_sub(self.at).as_secs_f64() / 60.0;
        let per_minute = NEW_PER_MINUTE + NEW_PER_MINUTE_AND_SUBJECT * subjects as f64;
        self.new = per_minute.mul_add(minutes, self.new).min(f64::from(NEW_AT_ONCE_MAX));
        self.at = self.at.max(now);
    }
}

/// The room that alerts take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Number of open alerts, without summaries.
    open: usize,
    /// Bytes of labels and texts.
    bytes: usize,
}

impl Size {
    /// The room of one alert. Its labels count twice: they are in the alert and in its key.
    pub(super) fn of(key: &AlertKey, alert: &Alert) -> Self {
        let Alert { labels, evidence, title, detail, cause, fix, .. } = alert;
        let bytes = bytes(key.labels.iter().chain(labels).chain(evidence), [Some(title), Some(detail), cause.as_ref(), fix.as_ref()]);
        Self { open: usize::from(alert.state.is_open() && !key.is_summary()), bytes }
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

/// The limits of one plugin while one evaluation about one subject is applied.
#[derive(Debug)]
pub(super) struct Room<'a> {
    allowance: &'a mut Allowance,
    /// The room that the plugin's alerts about other subjects take.
    elsewhere: Size,
}

/// Counts new alerts against all bounds, in the order of their admission.
pub(super) struct Admission<'a, 'b> {
    room: &'a mut Room<'b>,
    /// The room that the alerts about this subject take.
    here: Size,
    /// Whether an alert about this subject is critical.
    has_critical: bool,
}

/// Number of alerts of one rule so far.
#[derive(Debug, Default)]
pub(super) struct RuleCount {
    /// Number of open alerts, without the summary.
    pub open: usize,
    new: u32,
}

impl<'a, 'b> Admission<'a, 'b> {
    /// Begins the admission of new alerts. `here` is the room that the alerts about the subject take.
    pub(super) fn new(room: &'a mut Room<'b>, here: Size, has_critical: bool) -> Self {
        Self { room, here, has_critical }
    }

    /// Whether a new alert of this rule has room; if so, it is counted. The first critical alert about a subject always has room.
    pub(super) fn admits(&mut self, rule_count: &mut RuleCount, finding: &Finding) -> bool {
        let is_critical = finding.severity == Severity::Critical;
        let here = self.here.plus(Size { open: 1, bytes: bytes_of_finding(finding) });
        let fits = rule_count.open < ALERTS_PER_RULE_MAX
            && here.open <= ALERTS_PER_SUBJECT_MAX
            && ((is_critical && !self.has_critical) || self.room.fits(here, rule_count, is_critical));
        if fits {
            (rule_count.open, rule_count.new, self.here) = (rule_count.open + 1, rule_count.new + 1, here);
            self.has_critical |= is_critical;
            self.room.allowance.new = (self.room.allowance.new - 1.0).max(0.0);
        }
        fits
    }
}

impl Room<'_> {
    /// Whether the plugin has room for one more alert, which `here` already contains. One rule opens no more new alerts than it leaves to
    /// the other rules.
    fn fits(&self, here: Size, rule_count: &RuleCount, is_critical: bool) -> bool {
        let usable = usable(is_critical);
        let of_plugin = here.plus(self.elsewhere);
        let left = self.allowance.new - f64::from(NEW_AT_ONCE_MAX) * (1.0 - usable);
        of_plugin.open as f64 <= ALERTS_PER_PLUGIN_MAX as f64 * usable
            && of_plugin.bytes as f64 <= BYTES_PER_PLUGIN_MAX as f64 * usable
            && left >= 1.0
            && f64::from(rule_count.new) < left
    }
}

impl<'a> Room<'a> {
    /// Fills up the allowance. `elsewhere` has one entry for each other subject with alerts of the plugin; `now` is monotonic.
    pub(super) fn new(allowance: &'a mut Allowance, elsewhere: &[Size], now: Duration) -> Self {
        allowance.fill(elsewhere.len() + 1, now);
        Self { allowance, elsewhere: elsewhere.iter().copied().sum() }
    }

    /// Bytes of the plugin's alerts beyond the limit for critical or for other alerts.
    pub(super) fn excess_bytes(&self, here: Size, is_critical: bool) -> usize {
        let max = BYTES_PER_PLUGIN_MAX as f64 * usable(is_critical);
        here.plus(self.elsewhere).bytes.saturating_sub(max as usize)
    }
}

/// The share of the room that critical or other alerts may take.
fn usable(is_critical: bool) -> f64 {
    if is_critical { 1.0 } else { 1.0 - FOR_CRITICAL }
}

/// Removes the texts of an alert, and returns how many bytes that saves. Labels and title stay, because they identify the alert.
pub(super) fn leave_out_texts(alert: &mut Alert) -> usize {
    let size = |alert: &Alert| bytes(alert.evidence.iter(), [None, Some(&alert.detail), alert.cause.as_ref(), alert.fix.as_ref()]);
    let before = size(alert);
    (alert.cause, alert.fix, alert.evidence) = (None, None, Vec::new());
    if alert.detail.len() > TEXTS_LEFT_OUT.len() {
        alert.detail = TEXTS_LEFT_OUT.to_owned();
    }
    before.saturating_sub(size(alert))
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
