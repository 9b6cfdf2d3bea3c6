//! How long the news of a group wait after it was told: those that are graver than what it was told, and all that are critical, wait for
//! nothing but their company.

use std::time::Duration;

use crate::finding::Severity;

/// What there is to tell of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It ended, it became less grave, or it comes and goes.
    Calm,
    /// Its receiver was told nothing of it yet.
    New(Severity),
    /// It became graver than what its receiver was told of it.
    Graver,
}

/// The interval of a group, for each severity: an alert waits only for messages that told of one as grave as itself.
///
/// A message of ends alone tells of nothing that fires, so it keeps no new alert waiting. A new critical alert never waits: whoever was
/// told that no server takes writes has to know of the two that write a minute later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Quiet {
    /// Monotonic: when the interval ends that began with the latest message, whatever it told.
    until: Option<Duration>,
    /// The same of the latest message that told of an alert of at least this severity. In the order of [`Severity::ALL`].
    as_grave_until: [Option<Duration>; Severity::ALL.len()],
}

impl Quiet {
    /// The group is told, and its interval ends then. `gravest` is that of the alerts it was told to fire.
    pub fn told(&mut self, gravest: Option<Severity>, until: Duration) {
        self.until = self.until.max(Some(until));
        for (severity, as_grave_until) in Severity::ALL.into_iter().zip(&mut self.as_grave_until) {
            if gravest >= Some(severity) {
                *as_grave_until = (*as_grave_until).max(Some(until));
            }
        }
    }

    /// When news is told: with its company after `wait`, and not before the end of the interval unless it is critical, or graver than what
    /// was told in it.
    pub fn due(&self, news: News, wait: Duration, now: Duration) -> Duration {
        let Some(until) = self.until else { return now + wait };
        let calm = until.max(now);
        // What is graver never waits longer than what is not.
        let soon = calm.min(now + wait);
        match news {
            News::Calm => calm,
            News::Graver | News::New(Severity::Critical) => soon,
            News::New(severity) => self.as_grave_until[severity as usize].filter(|until| *until > now).unwrap_or(soon),
        }
    }

    /// When the interval ends; none before the first message.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Critical, Info, Warning};

    const WAIT: Duration = Duration::from_secs(30);

    /// After messages that told of these, each at a second and with an interval of 300: when news of this second is told.
    #[track_caller]
    fn check(told: &[(u64, Option<Severity>)], news: News, now: u64, expected: u64) {
        let mut quiet = Quiet::default();
        told.iter().for_each(|(at, gravest)| quiet.told(*gravest, Duration::from_secs(at + 300)));
        assert_eq!(quiet.due(news, WAIT, Duration::from_secs(now)), Duration::from_secs(expected), "{told:?}: {news:?} at {now}");
    }

    #[test]
    fn only_what_is_as_grave_keeps_an_alert_waiting() {
        check(&[], News::New(Info), 0, 30);
        check(&[(0, Some(Info))], News::New(Info), 10, 300);
        check(&[(0, Some(Info))], News::New(Warning), 10, 40);
        check(&[(0, Some(Warning))], News::New(Critical), 10, 40);
        check(&[(0, Some(Critical))], News::New(Warning), 10, 300);
        check(&[(0, Some(Critical))], News::Graver, 10, 40);
        check(&[(0, Some(Critical))], News::Calm, 10, 300);
    }

    #[test]
    fn a_new_critical_alert_waits_for_no_interval() {
        check(&[(0, Some(Critical))], News::New(Critical), 10, 40);
        check(&[(0, Some(Critical))], News::New(Critical), 290, 300);
    }

    #[test]
    fn a_message_of_ends_keeps_ends_waiting_and_no_alert() {
        check(&[(0, None)], News::Calm, 10, 300);
        check(&[(0, None)], News::New(Info), 10, 40);
    }

    #[test]
    fn calmer_messages_do_not_prolong_the_wait_of_what_is_graver() {
        let told = [(0, Some(Warning)), (200, Some(Info))];
        check(&told, News::New(Warning), 250, 300);
        check(&told, News::New(Warning), 310, 340);
        check(&told, News::New(Info), 310, 500);
    }

    #[test]
    fn after_the_interval_nothing_waits_and_what_is_graver_never_waits_longer() {
        check(&[(0, Some(Critical))], News::Calm, 400, 400);
        check(&[(0, Some(Critical))], News::New(Critical), 400, 400);
        check(&[(0, Some(Info))], News::New(Critical), 290, 300);
        check(&[(0, Some(Warning))], News::Graver, 290, 300);
    }
}
