//! How long news of a group waits after its latest message. Critical news, and news graver than that message, waits only `group_wait`.

use std::time::Duration;

use crate::finding::Severity;

/// Difference between an alert and what its receiver was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// The alert ended, became less grave, or started to flap.
    Calm,
    /// The alert was not sent to the receiver yet.
    New(Severity),
    /// The alert became graver than in the latest notification.
    Graver,
}

/// The interval of a group for each severity. An alert waits only after messages with an alert at least as grave as itself.
///
/// A message with ends only reports nothing that fires, so new alerts do not wait for it. A new critical alert never waits for the
/// interval: a minute after "no server takes writes", the message that two servers take writes must be sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct MessageIntervals {
    /// Monotonic time at which the interval after the latest message ends.
    until: Option<Duration>,
    /// Monotonic end of the interval after the latest message with an alert of at least this severity, in the order of [`Severity::ALL`].
    as_grave_until: [Option<Duration>; Severity::ALL.len()],
}

impl MessageIntervals {
    /// Records a message whose interval ends at `until`. `gravest` is the highest severity that it reports as firing, if any.
    pub(super) fn record_message(&mut self, gravest: Option<Severity>, until: Duration) {
        self.until = self.until.max(Some(until));
        for (severity, as_grave_until) in Severity::ALL.into_iter().zip(&mut self.as_grave_until) {
            if gravest >= Some(severity) {
                *as_grave_until = (*as_grave_until).max(Some(until));
            }
        }
    }

    /// Monotonic time at which news is due: after `wait`, and after the interval. Critical news, and news graver than in the interval's
    /// messages, does not wait for the interval.
    pub(super) fn due(&self, news: News, wait: Duration, now: Duration) -> Duration {
        let Some(until) = self.until else { return now + wait };
        let calm = until.max(now);
        // Graver news never waits longer than other news.
        let soon = calm.min(now + wait);
        match news {
            News::Calm => calm,
            News::Graver | News::New(Severity::Critical) => soon,
            News::New(severity) => self.as_grave_until[severity as usize].filter(|until| *until > now).unwrap_or(soon),
        }
    }

    /// Monotonic time at which the interval ends; `None` before the first message.
    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Severity::{Critical, Info, Warning};

    const WAIT: Duration = Duration::from_secs(30);

    /// Checks when news is due after earlier messages, each at a second and with an interval of 300 s.
    #[track_caller]
    fn check(sent: &[(u64, Option<Severity>)], news: News, now: u64, expected: u64) {
        let mut intervals = MessageIntervals::default();
        sent.iter().for_each(|(at, gravest)| intervals.record_message(*gravest, Duration::from_secs(at + 300)));
        assert_eq!(intervals.due(news, WAIT, Duration::from_secs(now)), Duration::from_secs(expected), "{sent:?}: {news:?} at {now}");
    }

    #[test]
    fn an_alert_waits_only_after_messages_as_grave_as_itself() {
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
    fn after_a_message_of_ends_only_ends_wait() {
        check(&[(0, None)], News::Calm, 10, 300);
        check(&[(0, None)], News::New(Info), 10, 40);
    }

    #[test]
    fn calmer_messages_do_not_prolong_the_wait_of_graver_news() {
        let sent = [(0, Some(Warning)), (200, Some(Info))];
        check(&sent, News::New(Warning), 250, 300);
        check(&sent, News::New(Warning), 310, 340);
        check(&sent, News::New(Info), 310, 500);
    }

    #[test]
    fn after_the_interval_nothing_waits_and_graver_news_never_waits_longer() {
        check(&[(0, Some(Critical))], News::Calm, 400, 400);
        check(&[(0, Some(Critical))], News::New(Critical), 400, 400);
        check(&[(0, Some(Info))], News::New(Critical), 290, 300);
        check(&[(0, Some(Warning))], News::Graver, 290, 300);
    }
}
