//! Resets of a server's counters: a reset begins a new epoch, over which there is no rate. Counts lost with a crash are restored.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// Reset times of counters. A counter that was reset may have grown past its old value, and would show a false rate.
#[derive(Debug, Default)]
pub struct Resets {
    known: HashMap<String, Option<f64>>,
    resets: u64,
}

impl Resets {
    /// Epoch of a reading: a new one if a known counter was reset since, within the epoch `base`. A new counter was not reset.
    pub fn epoch(&mut self, base: u64, read: impl IntoIterator<Item = (String, Option<f64>)>) -> u64 {
        let read: HashMap<String, Option<f64>> = read.into_iter().collect();
        let was_reset = read.iter().any(|(name, at)| self.known.get(name).is_some_and(|known| known != at));
        self.resets += u64::from(was_reset);
        self.known = read;
        base.wrapping_add(self.resets)
    }
}

/// Value of one counter in a reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    /// The count; `None` while the server does not count.
    pub count: Option<f64>,
    /// Reset time in seconds on the server's clock. Its meaning is a [`ResetTime`].
    pub reset_at: Option<f64>,
    /// Time since which the server has all of its statistics; `None` if unknown.
    pub all_since: Option<f64>,
}

/// Meaning of a server's reset time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTime {
    /// Time of a reset. A counter without a reset has none, and neither has one that began after a crash.
    OfReset,
    /// Time at which the count began: after a reset, or with the first event after a crash.
    OfBeginning,
}

impl ResetTime {
    /// Returns true if the counter was reset on purpose between two readings.
    fn was_reset(self, before: &Counted, now: &Count) -> bool {
        let has_moved = now.reset_at.is_some() && now.reset_at != before.reset_at;
        match self {
            Self::OfReset => has_moved,
            // A crash removes all statistics at once. A counter that had not begun could not be reset.
            Self::OfBeginning => has_moved && before.reset_at.is_some() && now.all_since.is_some() && now.all_since == before.all_since,
        }
    }
}

/// Counts that a server lost. A crash removes its statistics, but damage that it had counted still exists. Counts that a person reset on
/// purpose are not lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses(BTreeMap<String, Counted>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Counted {
    count: f64,
    /// Time of the last reset on the server's clock.
    reset_at: Option<f64>,
    /// Count that the server lost.
    lost: f64,
    /// Time since which the server had all of its statistics; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all_since: Option<f64>,
}

impl Counted {
    /// The count after a reading. While the server does not count, nothing changes.
    fn after(self, read: &Count, meaning: ResetTime) -> Self {
        let Some(count) = read.count else { return self };
        let lost = match meaning.was_reset(&self, read) {
            true => 0.0,
            false if count < self.count => self.lost.max(self.count),
            false => self.lost,
        };
        Self { count, reset_at: read.reset_at, lost, all_since: read.all_since }
    }

    fn matters(&self) -> bool {
        self.count > 0.0 || self.lost > 0.0
    }
}

impl Losses {
    /// Adds a reading of all counters. Returns true if something changed that must be stored over a restart.
    pub fn observe<'a>(&mut self, read: impl IntoIterator<Item = (&'a str, Count)>, meaning: ResetTime) -> bool {
        let after = |(name, count): (&str, Count)| {
            let after = self.0.get(name).copied().unwrap_or_default().after(&count, meaning);
            after.matters().then(|| (name.to_owned(), after))
        };
        let read: BTreeMap<String, Counted> = read.into_iter().filter_map(after).collect();
        let is_news = read != self.0;
        self.0 = read;
        is_news
    }

    /// Continues from the stored losses of an earlier run of the agent. `first` is this run's first reading, if it was read before the
    /// stored losses arrived.
    pub fn restore(&mut self, mut earlier: Self, first: Option<&BTreeMap<String, Count>>, meaning: ResetTime) {
        if let Some(first) = first {
            earlier.observe(first.iter().map(|(name, count)| (name.as_str(), *count)), meaning);
        }
        for (name, own) in std::mem::take(&mut self.0) {
            let known = earlier.0.entry(name).or_default();
            let read = Count { count: Some(own.count), reset_at: own.reset_at, all_since: own.all_since };
            *known = known.after(&read, meaning);
            known.lost = known.lost.max(own.lost);
        }
        *self = earlier;
    }

    /// Lost counts by their counters' names.
    pub fn lost(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter(|(_, counted)| counted.lost > 0.0).map(|(name, counted)| (name.as_str(), counted.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(count: impl Into<Option<f64>>, reset_at: Option<f64>) -> Count {
        Count { count: count.into(), reset_at, all_since: None }
    }

    fn lost(losses: &Losses) -> String {
        losses.lost().map(|(name, lost)| format!("{name} {lost}")).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_count_lost_in_a_crash_is_stored_until_a_reset() {
        let mut losses = Losses::default();
        let mut read = |count, reset_at| {
            losses.observe([("app", counted(count, reset_at)), ("shop", counted(0.0, None))], ResetTime::OfReset);
            lost(&losses)
        };
        assert_eq!([read(0.0, None), read(3.0, None), read(3.0, None)], ["", "", ""]);
        assert_eq!([read(0.0, None), read(0.0, None), read(1.0, None)], ["app 3", "app 3", "app 3"]);
        assert_eq!([read(0.0, Some(7.0)), read(0.0, Some(7.0))], ["", ""]);
        assert_eq!([read(2.0, Some(7.0)), read(0.0, None)], ["", "app 2"], "it was reset once, and lost later");
    }

    /// PostgreSQL 14, where the statistics as a whole also have a time.
    fn losses_of_14(readings: &[(f64, Option<f64>, f64)]) -> Vec<String> {
        let mut losses = Losses::default();
        let mut read = |(count, reset_at, since): &(f64, Option<f64>, f64)| {
            let count = Count { count: Some(*count), reset_at: *reset_at, all_since: Some(*since) };
            losses.observe([("app", count)], ResetTime::OfBeginning);
            lost(&losses)
        };
        readings.iter().map(&mut read).collect()
    }

    #[test]
    fn a_count_that_begins_after_a_crash_was_not_reset() {
        let crash = [(3.0, Some(1.0), 0.0), (0.0, None, 5.0), (0.0, Some(6.0), 5.0), (0.0, Some(6.0), 5.0)];
        assert_eq!(losses_of_14(&crash), ["", "app 3", "app 3", "app 3"]);
        let unseen = [(3.0, Some(1.0), 0.0), (0.0, Some(6.0), 5.0), (1.0, Some(6.0), 5.0), (0.0, Some(9.0), 5.0)];
        assert_eq!(losses_of_14(&unseen), ["", "app 3", "app 3", ""], "a reset after the repair ends it");
        let reset = [(3.0, Some(1.0), 0.0), (0.0, Some(2.0), 0.0), (2.0, Some(2.0), 0.0), (0.0, None, 5.0)];
        assert_eq!(losses_of_14(&reset), ["", "", "", "app 2"]);
    }

    #[test]
    fn a_note_without_the_time_of_all_statistics_shows_no_reset_of_a_count_that_begins() {
        let mut losses: Losses = serde_json::from_str(r#"{"app":{"count":3.0,"reset_at":1.0,"lost":0.0}}"#).unwrap();
        losses.observe([("app", Count { count: Some(0.0), reset_at: Some(6.0), all_since: Some(5.0) })], ResetTime::OfBeginning);
        assert_eq!(lost(&losses), "app 3");
    }

    #[test]
    fn losses_stay_while_the_server_does_not_count() {
        let mut losses = Losses::default();
        let mut read = |count: Option<f64>| {
            losses.observe([("app", counted(count, None))], ResetTime::OfReset);
            lost(&losses)
        };
        assert_eq!([read(Some(3.0)), read(None), read(Some(0.0)), read(None), read(Some(0.0))], ["", "", "app 3", "app 3", "app 3"]);
    }

    #[test]
    fn losses_outlive_the_process_and_end_with_the_thing() {
        let mut losses = Losses::default();
        let read = |losses: &mut Losses, name, count| losses.observe([(name, counted(count, None))], ResetTime::OfReset);
        assert!(read(&mut losses, "app", 3.0) && !read(&mut losses, "app", 3.0));
        let mut losses: Losses = serde_json::from_str(&serde_json::to_string(&losses).unwrap()).unwrap();
        assert!(read(&mut losses, "app", 0.0));
        assert_eq!(losses.lost().collect::<Vec<_>>(), [("app", 3.0)]);
        read(&mut losses, "shop", 0.0);
        assert_eq!(losses.lost().count(), 0);
    }

    /// Lost counts after the note of an earlier run arrives. This run made the readings `before_restore` before, and `now` later.
    fn restored(noted: &[Count], before_restore: &[Count], now: Count) -> String {
        let run = |readings: &[Count]| {
            let mut losses = Losses::default();
            for count in readings {
                losses.observe([("app", *count)], ResetTime::OfReset);
            }
            losses
        };
        let mut losses = run(before_restore);
        let first = before_restore.first().map(|first| BTreeMap::from([("app".to_owned(), *first)]));
        losses.restore(run(noted), first.as_ref(), ResetTime::OfReset);
        losses.observe([("app", now)], ResetTime::OfReset);
        lost(&losses)
    }

    #[test]
    fn readings_before_the_note_arrives_count_as_well() {
        let [none, some, more, reset] = [counted(0.0, None), counted(3.0, None), counted(5.0, None), counted(0.0, Some(7.0))];
        assert_eq!(restored(&[some], &[none, none], none), "app 3", "the crash was before this run");
        assert_eq!(restored(&[some, none], &[none], none), "app 3");
        assert_eq!(restored(&[], &[more, none], none), "app 5", "and here within it");
        assert_eq!(restored(&[some], &[some, more], none), "app 5", "after it");
        assert_eq!(restored(&[some], &[], none), "app 3");
        for before_restore in [&[reset][..], &[none, reset], &[more, none, reset], &[none, none]] {
            assert_eq!(restored(&[some], before_restore, reset), "", "{before_restore:?}");
        }
    }

    fn epochs(readings: &[&[(&str, Option<f64>)]]) -> Vec<u64> {
        let mut resets = Resets::default();
        let named = |reading: &[(&str, Option<f64>)]| reading.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect::<Vec<_>>();
        readings.iter().map(|reading| resets.epoch(100, named(reading))).collect()
    }

    #[test]
    fn a_reset_begins_an_epoch_and_what_is_new_or_gone_does_not() {
        let (never, once, twice) = (None, Some(1.0), Some(2.0));
        assert_eq!(
            epochs(&[&[("app", never)], &[("app", never)], &[("app", once)], &[("app", once)], &[("app", twice)]]),
            [100, 100, 101, 101, 102]
        );
        assert_eq!(epochs(&[&[("app", once)], &[("app", once), ("shop", twice)], &[("shop", twice)], &[("app", twice)]]), [100; 4]);
    }
}
