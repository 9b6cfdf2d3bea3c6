//! State of each datname between two rounds of visits: when its expensive reading is due, and whether its counters were reset. Also the
//! order of a round, and when a round is given up.

use std::collections::{BTreeSet, HashMap};

/// Visits between two expensive readings. Bloat and definitions change slowly and cost most; six visits are half an hour by default.
const EXPENSIVE_EVERY: u32 = 6;

/// State of each datname, by its OID, which a rename does not change.
#[derive(Debug)]
pub struct DatnameStates<T> {
    datnames: HashMap<u32, Datname<T>>,
    resets: u64,
}

#[derive(Debug)]
struct Datname<T> {
    /// Visits since the last expensive reading; `None` before the first.
    visits: Option<u32>,
    reset_at: Option<f64>,
    state: T,
}

impl<T> Default for DatnameStates<T> {
    fn default() -> Self {
        Self { datnames: HashMap::new(), resets: 0 }
    }
}

impl<T: Default> DatnameStates<T> {
    /// Begins a visit. Returns the datname's state, and whether the expensive reading is due.
    pub fn begin_visit(&mut self, datname_oid: u32, reset_at: Option<f64>) -> (&mut T, bool) {
        let datname = self.datnames.entry(datname_oid).or_insert_with(|| Datname { visits: None, reset_at, state: T::default() });
        if datname.reset_at != reset_at {
            datname.reset_at = reset_at;
            self.resets += 1;
        }
        datname.visits = datname.visits.map(|visits| visits + 1).filter(|visits| *visits < EXPENSIVE_EVERY);
        (&mut datname.state, datname.visits.is_none())
    }

    /// Records that the expensive reading succeeded.
    pub fn mark_read(&mut self, datname_oid: u32) {
        if let Some(datname) = self.datnames.get_mut(&datname_oid) {
            datname.visits = Some(0);
        }
    }

    /// Ends a round and returns the epoch of counters. Datnames that are not `listed` are removed; those that could not be visited stay.
    /// `listed` is `None` if the list is unknown.
    pub fn end_round(&mut self, epoch: u64, listed: Option<&BTreeSet<u32>>) -> u64 {
        if let Some(listed) = listed {
            self.datnames.retain(|datname_oid, _| listed.contains(datname_oid));
        }
        epoch.wrapping_add(self.resets)
    }
}

/// Sessions in a row that a server may refuse or leave unanswered before the round is given up. A single one may be chance. Each further
/// one would delay the round by a whole session timeout.
const MISSES_MAX: u32 = 2;

/// Decides whether a round continues after the server gave no session.
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
    /// Records a visit. `miss` is the error of a server that gave no session; `None` for a session, or for a failure of only this datname.
    pub fn record(&mut self, miss: Option<E>) {
        self.misses = if miss.is_some() { self.misses + 1 } else { 0 };
        self.last = miss;
    }

    /// Latest error if too many sessions in a row failed and the round must be given up; `None` to continue.
    pub fn exhausted(&self) -> Option<&E> {
        self.last.as_ref().filter(|_| self.misses >= MISSES_MAX)
    }
}

/// Rotates items that are sorted by name, so that a round begins at `at`, where the last round ended, and continues at the start.
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
    fn the_first_visit_and_then_every_sixth_reads_expensive_facts() {
        let mut states = DatnameStates::<()>::default();
        let due: Vec<bool> = (0..13)
            .map(|_| {
                let (_, is_due) = states.begin_visit(APP, None);
                if is_due {
                    states.mark_read(APP);
                }
                states.end_round(0, None);
                is_due
            })
            .collect();
        let times: Vec<usize> = due.iter().enumerate().filter(|(_, is_due)| **is_due).map(|(visit, _)| visit).collect();
        assert_eq!(times, [0, 6, 12]);
    }

    #[test]
    fn a_failed_expensive_reading_is_due_again() {
        let mut states = DatnameStates::<()>::default();
        assert!(states.begin_visit(APP, None).1);
        assert!(states.begin_visit(APP, None).1);
        states.mark_read(APP);
        assert!(!states.begin_visit(APP, None).1);
    }

    #[test]
    fn a_reset_begins_a_new_epoch_and_a_new_datname_does_not() {
        let mut states = DatnameStates::<u32>::default();
        states.begin_visit(1, None);
        assert_eq!(states.end_round(7, None), 7);
        states.begin_visit(1, Some(5.0));
        states.begin_visit(2, Some(1.0));
        assert_eq!(states.end_round(7, None), 8);
        *states.begin_visit(1, Some(5.0)).0 = 3;
        assert_eq!(states.end_round(7, None), 8);
        states.end_round(7, None);
        assert_eq!(*states.begin_visit(1, Some(5.0)).0, 3, "a failed visit removes no state");
    }

    #[test]
    fn only_a_dropped_datname_is_removed() {
        let mut states = DatnameStates::<u32>::default();
        *states.begin_visit(1, None).0 = 1;
        *states.begin_visit(2, None).0 = 2;
        states.end_round(0, Some(&BTreeSet::from([2, 3])));
        assert_eq!((*states.begin_visit(1, None).0, *states.begin_visit(2, None).0), (0, 2));
    }

    #[test]
    fn two_misses_in_a_row_are_enough_and_one_is_not() {
        let mut patience = Patience::default();
        for (miss, is_lost) in [(Some(1), false), (None, false), (Some(2), false), (Some(3), true)] {
            patience.record(miss);
            assert_eq!(patience.exhausted(), miss.as_ref().filter(|_| is_lost));
        }
    }

    #[test]
    fn a_round_continues_where_the_last_one_ended() {
        let from = |at| resume(vec!["a", "c", "e"], at, |name| name).join("");
        assert_eq!([None, Some("a"), Some("b"), Some("c"), Some("e"), Some("f")].map(from), ["ace", "ace", "cea", "cea", "eac", "ace"]);
        assert_eq!(resume(Vec::new(), Some("b"), |name: &&str| name), Vec::<&str>::new());
    }
}
