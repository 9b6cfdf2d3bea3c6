//! Pauses before the next attempt to send a message.

use std::time::Duration;

use crate::breaker::{Pauses, Steps};
use crate::notification::UndeliveredReason;

/// Longest pauses before the second, third and later attempts; the last one repeats. A minute is the limit, because grave news may wait for
/// a receiver that works again. One message a minute harms no receiver.
pub(super) const PAUSES: Pauses = Pauses {
    steps: Steps::Listed(&[Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)]),
    share_min: 0.0,
    share_max: 1.0,
    shortest: Duration::from_millis(500),
};

/// Longest pause that a receiver may request.
const REQUESTED_PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// Pause while the notifier plugin does not serve. Usually the agent has just started.
pub(super) const UNAVAILABLE_PAUSE: Duration = Duration::from_secs(1);

/// Pause after refused credentials. The secret may be rotating just now, so the agent tries again, but rarely.
pub(super) const UNAUTHORISED_PAUSE: Duration = Duration::from_secs(300);

/// Limit for the sum of a row's pauses, and the reason that is stored when the row is given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Largest sum of pauses.
    pub pauses_max: Duration,
    /// Reason that is stored when the row is given up.
    pub reason: UndeliveredReason,
}

/// Every row is given up after three days of pauses.
pub(super) const TOO_LATE: Patience = Patience { pauses_max: Duration::from_secs(72 * 3_600), reason: UndeliveredReason::TooLate };
/// A row is given up after an hour of pauses if the receiver refuses the credentials.
pub(super) const UNAUTHORISED: Patience = Patience { pauses_max: Duration::from_secs(3_600), reason: UndeliveredReason::Unauthorised };

/// Pause after this many failed attempts. It is never shorter than the pause that the receiver requested, up to an hour. `chance` from 0 to
/// 1 is full jitter, so that many rows do not return at once.
pub(super) fn pause(attempts: u32, requested: Option<Duration>, chance: f64) -> Duration {
    let jittered = PAUSES.pause(attempts, chance);
    requested.map_or(jittered, |requested| requested.min(REQUESTED_PAUSE_MAX).max(jittered))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_with_full_jitter() {
        let longest: Vec<u64> = (1..=5).map(|attempts| pause(attempts, None, 1.0).as_secs()).collect();
        assert_eq!(longest, [5, 15, 60, 60, 60]);
        assert_eq!(pause(3, None, 0.5), Duration::from_secs(30));
        assert_eq!(pause(7, None, 0.0), PAUSES.shortest);
        assert_eq!(pause(u32::MAX, None, 1.0).as_secs(), 60);
    }

    #[test]
    fn a_receiver_may_ask_for_more_within_reason_and_never_for_less() {
        let requested = |seconds| pause(1, Some(Duration::from_secs(seconds)), 1.0).as_secs();
        assert_eq!((requested(0), requested(60), requested(1_000_000_000)), (5, 60, 3_600));
    }
}
