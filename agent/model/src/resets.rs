//! Since when a server counts: a reset under way begins a new epoch, over which there is no rate; and what was counted before it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// Since when counters count. One that was reset may have grown past what it was, and would show a rate that never was.
#[derive(Debug, Default)]
pub struct Resets {
    known: HashMap<String, Option<f64>>,
    resets: u64,
}

impl Resets {
    /// The epoch of what was read: another one when something that was known before was reset since, within what `base` is the epoch of.
    /// What is new was not reset.
    pub fn epoch(&mut self, base: u64, read: impl IntoIterator<Item = (String, Option<f64>)>) -> u64 {
        let read: HashMap<String, Option<f64>> = read.into_iter().collect();
        let was_reset = read.iter().any(|(name, at)| self.known.get(name).is_some_and(|known| known != at));
        self.resets += u64::from(was_reset);
        self.known = read;
        base.wrapping_add(self.resets)
    }
}

/// Counts that a server lost: a crash takes its statistics, and a damage that it had counted is there all the same. What somebody reset on
/// purpose is not lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses(BTreeMap<String, Counted>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Counted {
    count: f64,
    /// When somebody reset it last, by the server's clock.
    reset_at: Option<f64>,
    /// What had been counted when the server lost it.
    lost: f64,
}

impl Losses {
    /// Takes a reading of everything: the name of a thing, its count, and when somebody reset that. Says whether something changed that
    /// must outlive the process.
    pub fn observe<'a>(&mut self, read: impl IntoIterator<Item = (&'a str, f64, Option<f64>)>) -> bool {
        let after = |(name, count, reset_at): (&str, f64, Option<f64>)| {
            let before = self.0.get(name).copied().unwrap_or_default();
            let was_reset = reset_at.is_some() && reset_at != before.reset_at;
            let lost = if count < before.count { before.lost.max(before.count) } else { before.lost };
            let lost = if was_reset { 0.0 } else { lost };
            (count > 0.0 || lost > 0.0).then(|| (name.to_owned(), Counted { count, reset_at, lost }))
        };
        let read: BTreeMap<String, Counted> = read.into_iter().filter_map(after).collect();
        let is_news = read != self.0;
        self.0 = read;
        is_news
    }

    /// What is lost, and how much of it was counted.
    pub fn lost(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().filter(|(_, counted)| counted.lost > 0.0).map(|(name, counted)| (name.as_str(), counted.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_took_is_remembered_until_somebody_resets_it() {
        let mut losses = Losses::default();
        let mut read = |count, reset_at| {
            losses.observe([("app", count, reset_at), ("shop", 0.0, None)]);
            losses.lost().map(|(name, lost)| format!("{name} {lost}")).collect::<Vec<_>>().join(", ")
        };
        assert_eq!([read(0.0, None), read(3.0, None), read(3.0, None)], ["", "", ""]);
        assert_eq!([read(0.0, None), read(0.0, None), read(1.0, None)], ["app 3", "app 3", "app 3"]);
        assert_eq!([read(0.0, Some(7.0)), read(0.0, Some(7.0))], ["", ""]);
        assert_eq!([read(2.0, Some(7.0)), read(0.0, None)], ["", "app 2"], "it was reset once, and lost later");
    }

    #[test]
    fn what_is_lost_outlives_the_process_and_goes_with_the_thing() {
        let mut losses = Losses::default();
        assert!(losses.observe([("app", 3.0, None)]) && !losses.observe([("app", 3.0, None)]));
        let mut losses: Losses = serde_json::from_str(&serde_json::to_string(&losses).unwrap()).unwrap();
        assert!(losses.observe([("app", 0.0, None)]));
        assert_eq!(losses.lost().collect::<Vec<_>>(), [("app", 3.0)]);
        losses.observe([("shop", 0.0, None)]);
        assert_eq!(losses.lost().count(), 0);
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
