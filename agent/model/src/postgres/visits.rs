//! What a visit keeps of each datname from one round to the next: when to take the expensive look, and whether counters were reset. And
//! where a round goes on, and when it gives up.

use std::collections::{BTreeSet, HashMap};

/// Bloat and definitions change slowly and cost most, so they are looked at in every sixth visit: each half hour by default.
const LOOK_EVERY: u32 = 6;

/// By the datname's number; a renamed one stays itself.
#[derive(Debug)]
pub struct Kept<T> {
    datnames: HashMap<u32, Datname<T>>,
    resets: u64,
}

#[derive(Debug)]
struct Datname<T> {
    /// Visits since the last look; none while there was none.
    visits: Option<u32>,
    reset_at: Option<f64>,
    kept: T,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { datnames: HashMap::new(), resets: 0 }
    }
}

impl<T: Default> Kept<T> {
    /// Begins a visit: what is kept of the datname, and whether it is time for the expensive look.
    pub fn enter(&mut self, datname_oid: u32, reset_at: Option<f64>) -> (&mut T, bool) {
        let datname = self.datnames.entry(datname_oid).or_insert_with(|| Datname { visits: None, reset_at, kept: T::default() });
        if datname.reset_at != reset_at {
            datname.reset_at = reset_at;
            self.resets += 1;
        }
        datname.visits = datname.visits.map(|visits| visits + 1).filter(|visits| *visits < LOOK_EVERY);
        (&mut datname.kept, datname.visits.is_none())
    }

    /// The look was taken.
    pub fn looked(&mut self, datname_oid: u32) {
        if let Some(datname) = self.datnames.get_mut(&datname_oid) {
            datname.visits = Some(0);
        }
    }

    /// Ends a round: datnames that are not there any more are forgotten, those that could not be visited are not. `listed` is none where
    /// nobody knows which are there. Returns the epoch of counters.
    pub fn leave(&mut self, epoch: u64, listed: Option<&BTreeSet<u32>>) -> u64 {
        if let Some(listed) = listed {
            self.datnames.retain(|datname_oid, _| listed.contains(datname_oid));
        }
        epoch.wrapping_add(self.resets)
    }
}

/// Sessions in a row that a server may refuse or not answer before it is asked for no more in a round. One may be bad luck; with each
/// further one the round waits in vain for as long as a session may take.
const MISSES_MAX: u32 = 2;

/// Whether to go on after the server itself did not give a session.
#[derive(Debug)]
pub struct Patience<E> {
    misses: u32,
    last: Option<E>,
}

impl<E> Default for Patience<E> {
    fn default() -> Self {
        Self { misses: 0, last: None }
    }
}

impl<E> Patience<E> {
    /// There was a session, or it was only this datname that gave none; else why.
    pub fn learn(&mut self, miss: Option<E>) {
        self.misses = if miss.is_some() { self.misses + 1 } else { 0 };
        self.last = miss;
    }

    /// Why it is lost, if it is.
    pub fn lost(&self) -> Option<&E> {
        self.last.as_ref().filter(|_| self.misses >= MISSES_MAX)
    }
}

/// In which order a round goes through what is sorted by name: on from where the last one ended, then from the first.
pub fn resume<T>(mut all: Vec<T>, at: Option<&str>, name: fn(&T) -> &str) -> Vec<T> {
    let place = at.map_or(0, |at| all.partition_point(|one| name(one) < at));
    let place = if place == all.len() { 0 } else { place };
    all.rotate_left(place);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: u32 = 1;

    #[test]
    fn the_first_visit_looks_and_then_every_sixth() {
        let mut kept = Kept::<()>::default();
        let looks: Vec<bool> = (0..13)
            .map(|_| {
                let (_, looks) = kept.enter(APP, None);
                if looks {
                    kept.looked(APP);
                }
                kept.leave(0, None);
                looks
            })
            .collect();
        let times: Vec<usize> = looks.iter().enumerate().filter(|(_, looks)| **looks).map(|(visit, _)| visit).collect();
        assert_eq!(times, [0, 6, 12]);
    }

    #[test]
    fn a_look_that_failed_is_taken_again() {
        let mut kept = Kept::<()>::default();
        assert!(kept.enter(APP, None).1);
        assert!(kept.enter(APP, None).1);
        kept.looked(APP);
        assert!(!kept.enter(APP, None).1);
    }

    #[test]
    fn a_reset_begins_a_new_epoch_and_a_new_datname_does_not() {
        let mut kept = Kept::<u32>::default();
        kept.enter(1, None);
        assert_eq!(kept.leave(7, None), 7);
        kept.enter(1, Some(5.0));
        kept.enter(2, Some(1.0));
        assert_eq!(kept.leave(7, None), 8);
        *kept.enter(1, Some(5.0)).0 = 3;
        assert_eq!(kept.leave(7, None), 8);
        kept.leave(7, None);
        assert_eq!(*kept.enter(1, Some(5.0)).0, 3, "a visit that failed forgets nothing");
    }

    #[test]
    fn only_a_datname_that_is_gone_is_forgotten() {
        let mut kept = Kept::<u32>::default();
        *kept.enter(1, None).0 = 1;
        *kept.enter(2, None).0 = 2;
        kept.leave(0, Some(&BTreeSet::from([2, 3])));
        assert_eq!((*kept.enter(1, None).0, *kept.enter(2, None).0), (0, 2));
    }

    #[test]
    fn two_misses_in_a_row_are_enough_and_one_is_not() {
        let mut patience = Patience::default();
        for (miss, is_lost) in [(Some(1), false), (None, false), (Some(2), false), (Some(3), true)] {
            patience.learn(miss);
            assert_eq!(patience.lost(), miss.as_ref().filter(|_| is_lost));
        }
    }

    #[test]
    fn a_round_goes_on_where_the_last_one_ended() {
        let from = |at| resume(vec!["a", "c", "e"], at, |name| name).join("");
        assert_eq!([None, Some("a"), Some("b"), Some("c"), Some("e"), Some("f")].map(from), ["ace", "ace", "cea", "cea", "eac", "ace"]);
        assert_eq!(resume(Vec::new(), Some("b"), |name: &&str| name), Vec::<&str>::new());
    }
}
