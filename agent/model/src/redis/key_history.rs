//! Number of keys of a Redis server before its last restart, and how many of them came back.
//!
//! A restart is a new process that started after the last reading of the old one. A process that has run for longer is another server at
//! the same address, and the history begins again with it. So a `FLUSHALL` is no loss, and neither is a failover.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a restart is stored, and how long a server may be away before it while the agent runs, in milliseconds.
const REMEMBERED_MS: u64 = 24 * 3_600_000;
/// Greatest age of a reading from an earlier run of the agent, in milliseconds. Between the runs, keys may be deleted without a restart.
const UNWATCHED_MS: u64 = 15 * 60_000;
/// Error of a start time, in milliseconds: the server reports its uptime in whole seconds, and the answer takes time.
const START_IMPRECISION_MS: u64 = 5_000;
/// Share of the keys that must be back before the next restart is compared with the present keys.
const RECOVERED_SHARE: f64 = 0.5;

/// Keys of one server at one instant, after all its data was loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyReading {
    /// Id of the process: each start of a server creates a new one.
    pub run_id: String,
    /// Wall time, milliseconds since 1970.
    pub started_at_ms: u64,
    /// Wall time of the reading, milliseconds since 1970.
    pub read_at_ms: u64,
    /// Number of keys in all databases of the server.
    pub keys: f64,
    /// Number of keys with an expiry.
    pub expiring: f64,
    /// Average remaining time of these keys, in milliseconds; `None` if the server does not report it.
    pub mean_ttl_ms: Option<f64>,
}

/// The latest restart and its loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restart {
    /// Keys before the restart, without those that have expired since.
    pub keys: f64,
    /// Number of these keys with an expiry.
    pub expiring: f64,
    /// Most keys in any reading after the restart.
    keys_since_max: f64,
    seen_at_ms: u64,
}

impl Restart {
    /// Share, from 0 to 1, of the keys before the restart that the server never had again.
    pub fn missing_ratio(&self) -> f64 {
        (1.0 - self.keys_since_max / self.keys).clamp(0.0, 1.0)
    }
}

/// A restart that may have lost keys. The last reading before it is too old to decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Unjudged {
    /// Keys in the last reading before the restart, without those that have expired since.
    pub keys: f64,
    /// Keys in the first reading after the restart.
    pub keys_since: f64,
    /// Time between the two readings.
    pub away: Duration,
}

/// A server's keys over its restarts, and over restarts of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyHistory {
    latest: Option<KeyReading>,
    restart: Option<Restart>,
    /// True if this run of the agent took the latest reading, so that the server has not answered since.
    #[serde(skip)]
    is_watched: bool,
}

impl KeyHistory {
    /// Adds a reading. Returns a restart before it that lacks most of the keys and cannot be judged. A server that loads or waits for its
    /// master lacks keys for a while, so its readings must not be added.
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
                // A known loss continues.
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

    /// Latest restart, for a day; `None` for a server that had no keys before it.
    pub fn restart(&self) -> Option<&Restart> {
        self.restart.as_ref()
    }

    fn restarted(&self, before: &KeyReading, after: &KeyReading) -> Option<Restart> {
        // A server that restarts repeatedly has lost the keys from before the first restart.
        if let Some(earlier) = self.restart.as_ref().filter(|earlier| is_lost(earlier)) {
            return Some(Restart { keys_since_max: earlier.keys_since_max.max(after.keys), ..earlier.clone() });
        }
        let away_ms = after.read_at_ms.saturating_sub(before.read_at_ms);
        // Keys also expire while the server is away. Only their mean lifetime is known, so an exponential decay around it is assumed.
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

    /// Reading of a process that started at one minute, at a later minute.
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

    /// Keys before the restart, and the missing share.
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
        // The restart afterwards does not lose them either.
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
    fn a_loss_is_reported_for_a_day() {
        let mut history = history([reading("a", 0, 1, 1_000.0), reading("b", 2, 3, 0.0), reading("b", 2, 3 + 24 * 60 - 1, 0.0)]);
        assert_eq!(lost(&history), Some((1_000.0, 1.0)));
        history.observe(reading("b", 2, 3 + 24 * 60, 0.0));
        assert_eq!(lost(&history), None);
    }

    #[test]
    fn a_reading_older_than_a_day_shows_no_restart() {
        assert_eq!(lost(&history([reading("a", 0, 1, 1_000.0), reading("b", 24 * 60, 1 + 24 * 60, 0.0)])), None);
    }

    #[test]
    fn keys_that_expired_while_the_server_was_away_are_not_lost() {
        let before = |ttl: Option<f64>| KeyReading { expiring: 900.0, mean_ttl_ms: ttl, ..reading("a", 0, 1, 1_000.0) };
        let after = || reading("b", 30, 31, 100.0);
        let minutes = |minutes: u64| Some((minutes * MINUTE_MS) as f64);
        assert_eq!(lost(&history([before(minutes(1)), after()])), Some((100.0, 0.0)));
        assert_eq!(lost(&history([before(minutes(600_000)), after()])), Some((1_000.0, 0.9)));
        // Away for exactly the mean: some keys should live longer. A step at the mean would count all of them as expired, or none.
        for (mean, keys) in [(29, 420.0), (30, 431.0), (31, 442.0)] {
            assert_eq!(lost(&history([before(minutes(mean)), after()])).map(|(before, _)| before), Some(keys), "a mean of {mean} minutes");
        }
        assert_eq!(lost(&history([before(None), after()])), Some((1_000.0, 0.9)), "a server that does not say keeps them for long");
    }

    /// The history as the next run of the agent restores it.
    fn noted(history: &KeyHistory) -> KeyHistory {
        serde_json::from_str(&serde_json::to_string(history).unwrap()).unwrap()
    }

    #[test]
    fn a_restart_is_found_over_a_restart_of_the_agent() {
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
    fn a_known_loss_continues_over_a_restart_that_cannot_be_judged() {
        let mut history = noted(&history([reading("a", 0, 1, 1_000.0), reading("b", 2, 3, 10.0)]));
        history.observe(reading("c", 60, 61, 20.0));
        assert_eq!(lost(&history), Some((1_000.0, 0.98)));
    }
}
