//! Since when each index of a datname is known, over restarts of whoever watches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;

/// Indexes that a note tells of. More are rare where nobody uses them; those are known anew after a restart.
const NOTED_MAX: usize = 10_000;

/// By the index's number; of one cluster, since another one gives the same numbers to other indexes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FirstSeen {
    cluster: Cluster,
    /// By the server's clock, seconds since 1970.
    indexes: BTreeMap<u32, f64>,
}

impl FirstSeen {
    pub fn of(cluster: Cluster) -> Self {
        Self { cluster, indexes: BTreeMap::new() }
    }

    /// Whether this is about `cluster`, as far as anybody knows.
    pub fn is_of(&mut self, cluster: &Cluster) -> bool {
        let is_it = self.cluster.may_be(cluster);
        if is_it {
            self.cluster.learn(cluster);
        }
        is_it
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
    pub fn recall(&mut self, earlier: &Self) {
        if !self.is_of(&earlier.cluster) {
            return;
        }
        for (index, since) in &mut self.indexes {
            *since = earlier.indexes.get(index).map_or(*since, |before| before.min(*since));
        }
    }

    /// What is to be kept over a restart: those known longest.
    pub fn note(&self) -> Self {
        let mut longest: Vec<(u32, f64)> = self.indexes.iter().map(|(index, since)| (*index, *since)).collect();
        longest.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        longest.truncate(NOTED_MAX);
        Self { cluster: self.cluster.clone(), indexes: longest.into_iter().collect() }
    }

    /// For how many seconds an index is known at `now`.
    pub fn seconds(&self, index: u32, now: f64) -> Option<f64> {
        self.indexes.get(&index).map(|since| (now - since).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(system_identifier: Option<&str>) -> FirstSeen {
        FirstSeen::of(Cluster::new(system_identifier))
    }

    #[test]
    fn an_index_is_known_since_it_was_first_met() {
        let mut seen = of(Some("7412"));
        assert!(seen.meet([1, 2].into_iter(), 100.0));
        assert!(!seen.meet([1, 2].into_iter(), 110.0));
        assert!(seen.meet([2, 3].into_iter(), 120.0));
        assert_eq!([1, 2, 3].map(|index| seen.seconds(index, 125.0)), [None, Some(25.0), Some(5.0)]);
        seen.meet([1].into_iter(), 130.0);
        assert_eq!(seen.seconds(1, 130.0), Some(0.0), "it went and came again");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older_and_later_nothing_too_old() {
        let mut seen = of(Some("7412"));
        seen.meet([1].into_iter(), 1_000.0);
        assert!(seen.meet([1].into_iter(), 500.0));
        assert_eq!(seen.seconds(1, 510.0), Some(10.0));
    }

    #[test]
    fn what_was_noted_of_the_same_cluster_is_recalled() {
        let mut earlier = of(Some("7412"));
        earlier.meet([1, 2].into_iter(), 100.0);
        let note = serde_json::to_string(&earlier.note()).unwrap();
        let earlier: FirstSeen = serde_json::from_str(&note).unwrap();
        for (system, expected) in [(Some("7412"), Some(400.0)), (None, Some(400.0)), (Some("8"), Some(0.0))] {
            let mut seen = of(system);
            seen.meet([1, 3].into_iter(), 500.0);
            seen.recall(&earlier);
            assert_eq!([1, 3].map(|index| seen.seconds(index, 500.0)), [expected, Some(0.0)], "{system:?}");
        }
    }

    #[test]
    fn a_question_that_failed_makes_no_other_cluster_and_another_answer_does() {
        let mut seen = of(None);
        assert!(seen.is_of(&Cluster::new(Some("7412"))) && seen.is_of(&Cluster::default()) && !seen.is_of(&Cluster::new(Some("8"))));
    }

    #[test]
    fn a_note_has_a_bound_and_tells_of_those_known_longest() {
        let mut seen = of(None);
        seen.meet(1_000..2_000, 1.0);
        seen.meet(0..30_000, 2.0);
        let note = seen.note();
        assert_eq!((note.indexes.len(), note.seconds(1_500, 3.0)), (NOTED_MAX, Some(2.0)));
    }
}
