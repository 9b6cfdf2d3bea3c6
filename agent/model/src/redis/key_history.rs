//! How many keys a Redis server had before it restarted, and how many of them came back.
//!
//! A restart is a new process that started after the last reading of the one before. Another process that has run for longer is another
//! server behind the same address, and the history begins anew with it. So a `FLUSHALL` is no loss, and neither is a failover.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a restart is remembered, and how long a server may be away before one while the agent watches.
const REMEMBERED_MS: u64 = 24 * 3_600_000;
/// How old a reading of an earlier run of the agent may be. Between the runs, keys may be deleted that no restart took.
const UNWATCHED_MS: u64 = 15 * 60_000;
/// The server reports its uptime in whole seconds, and the answer takes its time.
const START_IMPRECISION_MS: u64 = 5_000;
/// Once this share of the keys is back, the next restart is compared with what the server has by then.
const RECOVERED_SHARE: f64 = 0.5;

/// The keys of one server at one instant, once all of its data was loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyReading {
    /// Names the process; each start of a server makes a new one.
    pub run_id: String,
    /// Wall time, milliseconds since 1970.
    pub started_at_ms: u64,
    pub read_at_ms: u64,
    pub keys: f64,
    /// How many of them have an expiry.
    pub expiring: f64,
    /// What is left of it on average; none where the server does not know.
    pub mean_ttl_ms: Option<f64>,
}

/// The latest restart, and what it cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// Keys before it, without those that have expired by now.
    pub keys: f64,
    /// How many of these had an expiry.
    pub expiring: f64,
    /// The most keys at any reading after it.
    keys_since_max: f64,
    seen_at_ms: u64,
}

impl Restart {
    /// Share of the keys before the restart that the server never had again.
    pub fn missing_ratio(&self) -> f64 {
        (1.0 - self.keys_since_max / self.keys).clamp(0.0, 1.0)
    }
}

/// A restart that may have cost keys, of which the last reading before it is too old to say so.
#[derive(Debug, Clone, PartialEq)]
pub struct Unjudged {
    /// Keys of the last reading before it, without those that have expired by now.
    pub keys: f64,
    pub keys_since: f64,
    pub away: Duration,
}

/// What is known of a server's keys over its restarts, and over those of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyHistory {
    latest: Option<KeyReading>,
    restart: Option<Restart>,
    /// Whether this run of the agent took the latest reading, so that the server answered nothing since.
    #[serde(skip)]
    is_watched: bool,
}

impl KeyHistory {
    /// Takes in a reading. Returns a restart before it that lacks most of the keys and cannot be judged. Readings of a server that loads or waits for its master do not belong here: keys are missing there for a while.
    pub fn observe(&mut self, reading: KeyReading) -> Option<Unjudged> {
        let mut unjudged = None;
        let before = self.latest.take();
        let gap_max_ms = if std::mem::replace(&mut self.is_watched, true) { REMEMBERED_MS } else { UNWATCHED_MS };
        match before {
            Some(before) if before.run_id == reading.run_id => {
                if let Some(restart) = &mut self.restart {
                    restart.keys_since_max = restart.keys_since_max.max(reading.keys);
                }
            }
            Some(before) if is_restart(&before, &reading) => {
                let restart = self.restarted(&before, &reading);
                let away_ms = reading.read_at_ms.saturating_sub(before.read_at_ms);
                // A loss that was known before goes on.
                let is_judged = self.restart.as_ref().is_some_and(is_lost) || away_ms < gap_max_ms;
                if !is_judged {
                    let lost = restart.as_ref().filter(|restart| is_lost(restart));
                    let away = Duration::from_millis(away_ms);
                    unjudged = lost.map(|lost| Unjudged { keys: lost.keys, keys_since: reading.keys, away });
                }
                self.restart = restart.filter(|_| is_judged);
            }
            _ => self.restart = None,
        }
        let now_ms = reading.read_at_ms;
        self.restart.take_if(|restart| now_ms.saturating_sub(restart.seen_at_ms) >= REMEMBERED_MS);
        self.latest = Some(reading);
        unjudged
    }

    /// The latest restart, for a day; none of a server that had no keys before it.
    pub fn restart(&self) -> Option<&Restart> {
        self.restart.as_ref()
    }

    fn restarted(&self, before: &KeyReading, after: &KeyReading) -> Option<Restart> {
        // A server that restarts again and again has lost what it had before the first time.
        if let Some(earlier) = self.restart.as_ref().filter(|earlier| is_lost(earlier)) {
            return Some(Restart { keys_since_max: earlier.keys_since_max.max(after.keys), ..earlier.clone() });
        }
        let away_ms = after.read_at_ms.saturating_sub(before.read_at_ms);
        // Keys expire while the server is away as well. Only the mean is known, and lifetimes around a mean end one after the other.
        let surviving = before.mean_ttl_ms.map_or(1.0, |ttl| (-(away_ms as f64) / ttl).exp());
        let expiring = (before.expiring * surviving).round();
        let keys = (before.keys - before.expiring).max(0.0) + expiring;
        (keys > 0.0).then_some(Restart { keys, expiring, keys_since_max: after.keys, seen_at_ms: after.read_at_ms })
    }
}

fn is_lost(restart: &Restart) -> bool {
    restart.missing_ratio() > RECOVERED_SHARE
}

fn is_restart(before: &KeyReading, after: &KeyReading) -> bool {
    after.started_at_ms + START_IMPRECISION_MS >= before.read_at_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;
    const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

    /// A process that started at some minute, read at a later one.
    fn reading(run_id: &str, started: u64, read: u64, keys: f64) -> KeyReading {
        let [started_at_ms, read_at_ms] = [started, read].map(|minute| DAY_MS + minute * MINUTE_MS);
        KeyReading { run_id: run_id.to_owned(), started_at_ms, read_at_ms, keys, ..KeyReading::default() }
    }

    fn history(readings: impl IntoIterator<Item = KeyReading>) -> KeyHistory {
        let mut history = KeyHistory::default();
        for reading in readings {
            history.observe(reading);
        }
        history
    }

    /// Keys before the restart, and the share that is missing.
    fn lost(history: &KeyHistory) -> Option<(f64, f64)> {
        history.restart().map(|restart| (restart.keys, restart.missing_ratio()))
    }

    #[test]
    fn a_server_that_comes_back_empty_has_lost_its_keys() {
        let mut history = history([reading("a", 0, 1, 900.0), reading("a", 0, 2, 1_000.0), reading("b", 3, 4, 0.0)]);
        assert_eq!(lost(&history), Some((1_000.0, 1.0)));
        history.observe(reading("b", 3, 5, 250.0));
        assert_eq!(lost(&history), Some((1_000.0, 0.75)), "clients fill it again");
        history.observe(reading("b", 3, 6, 2_000.0));
        assert_eq!(lost(&history), Some((1_000.0, 0.0)));
        history.observe(reading("b", 3, 7, 0.0));
        assert_eq!(lost(&history), Some((1_000.0, 0.0)), "what came back and was deleted is not lost by the restart");
    }

    #[test]
    fn a_server_that_loads_its_data_again_has_lost_nothing() {
        assert_eq!(lost(&history([reading("a", 0, 1, 1_000.0), reading("b", 2, 3, 1_000.0)])), Some((1_000.0, 0.0)));
        assert_eq!(lost(&history([reading("a", 0, 1, 0.0), reading("b", 2, 3, 0.0)])), None, "there was nothing to lose");
    }

    #[test]
    fn keys_that_are_deleted_without_a_restart_are_not_lost() {
        assert_eq!(lost(&history([reading("a", 0, 1, 1_000.0), reading("a", 0, 2, 0.0)])), None);
        // Nor are they by the restart after it.
        assert_eq!(lost(&history([reading("a", 0, 1, 1_000.0), reading("a", 0, 2, 0.0), reading("b", 3, 4, 0.0)])), None);
    }

    #[test]
    fn another_server_behind_the_address_is_no_restart() {
        let mut history = history([reading("a", 0, 10, 1_000.0), reading("b", 5, 11, 0.0)]);
        assert_eq!(lost(&history), None, "it ran while the other one answered");
        history.observe(reading("a", 0, 12, 1_000.0));
        assert_eq!(lost(&history), None);
    }

    #[test]
    fn a_start_that_the_server_rounds_is_a_restart() {
        let mut after = reading("b", 0, 2, 0.0);
        after.started_at_ms = reading("a", 0, 1, 0.0).read_at_ms - 900;
        assert_eq!(lost(&history([reading("a", 0, 1, 1_000.0), after])), Some((1_000.0, 1.0)));
    }

    #[test]
    fn a_server_that_restarts_again_and_again_has_lost_what_it_had_before() {
        let mut history = history([reading("a", 0, 1, 1_000.0), reading("b", 2, 3, 0.0), reading("c", 4, 5, 10.0)]);
        assert_eq!(lost(&history), Some((1_000.0, 0.99)));
        history.observe(reading("c", 4, 6, 600.0));
        history.observe(reading("d", 7, 8, 600.0));
        assert_eq!(lost(&history), Some((600.0, 0.0)), "more than half of it was back, so the next restart counts from there");
    }

    #[test]
    fn a_loss_is_remembered_for_a_day() {
        let mut history = history([reading("a", 0, 1, 1_000.0), reading("b", 2, 3, 0.0), reading("b", 2, 3 + 24 * 60 - 1, 0.0)]);
        assert_eq!(lost(&history), Some((1_000.0, 1.0)));
        history.observe(reading("b", 2, 3 + 24 * 60, 0.0));
        assert_eq!(lost(&history), None);
    }

    #[test]
    fn what_was_read_longer_than_a_day_ago_says_nothing_of_a_restart() {
        assert_eq!(lost(&history([reading("a", 0, 1, 1_000.0), reading("b", 24 * 60, 1 + 24 * 60, 0.0)])), None);
    }

    #[test]
    fn keys_that_expired_while_the_server_was_away_are_not_lost() {
        let before = |ttl: Option<f64>| KeyReading { expiring: 900.0, mean_ttl_ms: ttl, ..reading("a", 0, 1, 1_000.0) };
        let after = || reading("b", 30, 31, 100.0);
        let minutes = |minutes: u64| Some((minutes * MINUTE_MS) as f64);
        assert_eq!(lost(&history([before(minutes(1)), after()])), Some((100.0, 0.0)));
        assert_eq!(lost(&history([before(minutes(600_000)), after()])), Some((1_000.0, 0.9)));
        // Away for as long as the mean: some were to live longer. A step at the mean would call all of them expired, or none.
        for (mean, keys) in [(29, 420.0), (30, 431.0), (31, 442.0)] {
            assert_eq!(lost(&history([before(minutes(mean)), after()])).map(|(before, _)| before), Some(keys), "a mean of {mean} minutes");
        }
        assert_eq!(lost(&history([before(None), after()])), Some((1_000.0, 0.9)), "a server that does not say keeps them for long");
    }

    /// As the next run of the agent finds it.
    fn noted(history: &KeyHistory) -> KeyHistory {
        serde_json::from_str(&serde_json::to_string(history).unwrap()).unwrap()
    }

    #[test]
    fn a_restart_is_seen_over_one_of_the_agent() {
        let before = history([reading("a", 0, 1, 1_000.0)]);
        for (read, expected) in [(3, Some((1_000.0, 1.0))), (15, Some((1_000.0, 1.0))), (16, None), (180, None)] {
            let mut after = noted(&before);
            after.observe(reading("b", 2, read, 0.0));
            assert_eq!(lost(&after), expected, "the agent was away for long, and the keys may have been deleted: {read}");
        }
        let mut watched = before;
        watched.observe(reading("b", 180, 181, 0.0));
        assert_eq!(lost(&watched), Some((1_000.0, 1.0)), "the agent looked all the while, and the server was away");
    }

    #[test]
    fn a_server_that_comes_back_without_its_keys_after_a_time_that_is_too_long_to_judge_is_named() {
        let after = |read: u64, keys: f64| noted(&history([reading("a", 0, 1, 1_000.0)])).observe(reading("b", 2, read, keys));
        let away = Duration::from_mins(20);
        assert_eq!(after(21, 10.0), Some(Unjudged { keys: 1_000.0, keys_since: 10.0, away }));
        assert_eq!([after(15, 0.0), after(21, 900.0)], [None, None], "one is judged, and the other lost little");
        let mut known = noted(&history([reading("a", 0, 1, 1_000.0), reading("b", 2, 3, 10.0)]));
        assert_eq!(known.observe(reading("c", 60, 61, 20.0)), None, "its loss is known");
    }

    #[test]
    fn a_loss_that_is_known_is_remembered_over_a_restart_that_cannot_be_judged() {
        let mut history = noted(&history([reading("a", 0, 1, 1_000.0), reading("b", 2, 3, 10.0)]));
        history.observe(reading("c", 60, 61, 20.0));
        assert_eq!(lost(&history), Some((1_000.0, 0.98)));
    }
}
