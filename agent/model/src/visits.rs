//! What a visit keeps of each datname from one round to the next: when to take the expensive look, and whether counters were reset.

use std::collections::HashMap;

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
    is_present: bool,
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
        let datname =
            self.datnames.entry(datname_oid).or_insert_with(|| Datname { visits: None, reset_at, is_present: true, kept: T::default() });
        if datname.reset_at != reset_at {
            datname.reset_at = reset_at;
            self.resets += 1;
        }
        datname.is_present = true;
        datname.visits = datname.visits.map(|visits| visits + 1).filter(|visits| *visits < LOOK_EVERY);
        (&mut datname.kept, datname.visits.is_none())
    }

    /// The look was taken. One that should be taken again soon is not counted.
    pub fn looked(&mut self, datname_oid: u32, again: bool) {
        if let Some(datname) = self.datnames.get_mut(&datname_oid) {
            datname.visits = (!again).then_some(0);
        }
    }

    /// Ends a round: datnames that were not entered in it are forgotten. Returns the epoch of counters.
    pub fn leave(&mut self, epoch: u64) -> u64 {
        self.datnames.retain(|_, datname| std::mem::take(&mut datname.is_present));
        epoch.wrapping_add(self.resets)
    }
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
                    kept.looked(APP, false);
                }
                kept.leave(0);
                looks
            })
            .collect();
        let times: Vec<usize> = looks.iter().enumerate().filter(|(_, looks)| **looks).map(|(visit, _)| visit).collect();
        assert_eq!(times, [0, 6, 12]);
    }

    #[test]
    fn a_look_that_failed_or_found_something_in_the_making_is_taken_again() {
        let mut kept = Kept::<()>::default();
        assert!(kept.enter(APP, None).1);
        assert!(kept.enter(APP, None).1);
        kept.looked(APP, true);
        assert!(kept.enter(APP, None).1);
        kept.looked(APP, false);
        assert!(!kept.enter(APP, None).1);
    }

    #[test]
    fn a_reset_begins_a_new_epoch_and_a_new_datname_does_not() {
        let mut kept = Kept::<u32>::default();
        kept.enter(1, None);
        assert_eq!(kept.leave(7), 7);
        kept.enter(1, Some(5.0));
        kept.enter(2, Some(1.0));
        assert_eq!(kept.leave(7), 8);
        *kept.enter(1, Some(5.0)).0 = 3;
        assert_eq!(kept.leave(7), 8);
        kept.leave(7);
        assert_eq!(*kept.enter(1, Some(5.0)).0, 0, "it was away for a round");
    }
}
