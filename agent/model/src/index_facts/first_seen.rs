//! Since when each index of a datname is known, over restarts of whoever watches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// By the index's number; of one cluster, since another one gives the same numbers to other indexes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FirstSeen {
    /// The cluster's system identifier; empty where nobody may know it.
    system: String,
    /// By the server's clock, seconds since 1970.
    indexes: BTreeMap<u32, f64>,
}

impl FirstSeen {
    pub fn of(system: &str) -> Self {
        Self { system: system.to_owned(), indexes: BTreeMap::new() }
    }

    /// Whether this is about `system`.
    pub fn is_of(&self, system: &str) -> bool {
        self.system == system
    }

    /// These are all that there are at `now`; says whether some came or went. What is new may have been made a minute ago, so what is
    /// known of it begins now. One that was noted later than now, because the server's clock was set back, begins anew.
    pub fn meet(&mut self, indexes: impl Iterator<Item = u32>, now: f64) -> bool {
        let before = std::mem::take(&mut self.indexes);
        let since = |index| before.get(&index).copied().filter(|since| *since <= now).unwrap_or(now);
        self.indexes = indexes.map(|index| (index, since(index))).collect();
        self.indexes != before
    }

    /// Takes from what was noted earlier of the same cluster whatever was known before.
    pub fn remember(&mut self, earlier: &Self) {
        if earlier.system != self.system {
            return;
        }
        for (index, since) in &mut self.indexes {
            *since = earlier.indexes.get(index).map_or(*since, |before| before.min(*since));
        }
    }

    /// For how many seconds an index is known at `now`.
    pub fn seconds(&self, index: u32, now: f64) -> Option<f64> {
        self.indexes.get(&index).map(|since| (now - since).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_known_since_it_was_first_met() {
        let mut seen = FirstSeen::of("7412");
        assert!(seen.meet([1, 2].into_iter(), 100.0));
        assert!(!seen.meet([1, 2].into_iter(), 110.0));
        assert!(seen.meet([2, 3].into_iter(), 120.0));
        assert_eq!([1, 2, 3].map(|index| seen.seconds(index, 125.0)), [None, Some(25.0), Some(5.0)]);
        seen.meet([1].into_iter(), 130.0);
        assert_eq!(seen.seconds(1, 130.0), Some(0.0), "it went and came again");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older_and_later_nothing_too_old() {
        let mut seen = FirstSeen::of("7412");
        seen.meet([1].into_iter(), 1_000.0);
        assert!(seen.meet([1].into_iter(), 500.0));
        assert_eq!(seen.seconds(1, 510.0), Some(10.0));
    }

    #[test]
    fn what_was_noted_of_the_same_cluster_is_remembered() {
        let mut earlier = FirstSeen::of("7412");
        earlier.meet([1, 2].into_iter(), 100.0);
        let note = serde_json::to_string(&earlier).unwrap();
        let earlier: FirstSeen = serde_json::from_str(&note).unwrap();
        for (system, expected) in [("7412", [Some(400.0), Some(0.0)]), ("8", [Some(0.0), Some(0.0)])] {
            let mut seen = FirstSeen::of(system);
            seen.meet([1, 3].into_iter(), 500.0);
            seen.remember(&earlier);
            assert_eq!([1, 3].map(|index| seen.seconds(index, 500.0)), expected);
        }
    }
}
