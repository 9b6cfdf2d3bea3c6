//! Since when a server counts: a reset under way begins a new epoch, over which there is no rate.

use std::collections::HashMap;

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

#[cfg(test)]
mod tests {
    use super::*;

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
