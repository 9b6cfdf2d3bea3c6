//! Time since which each index of a datname is known, over restarts of the agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;

/// Most indexes of a stored note. More indexes are rare, and those beyond count as new after a restart.
const NOTED_MAX: usize = 10_000;

/// First observation of each index, by its OID. Valid for one cluster, because other clusters use the same OIDs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FirstSeen {
    cluster: Cluster,
    /// Seconds since 1970 on the server's clock.
    indexes: BTreeMap<u32, f64>,
}

impl FirstSeen {
    /// Creates an empty list for this cluster.
    pub fn of(cluster: Cluster) -> Self {
        Self { cluster, indexes: BTreeMap::new() }
    }

    /// Returns true if the observations may be of `cluster`, and takes over what it adds to the known identity.
    pub fn is_of_cluster(&mut self, cluster: &Cluster) -> bool {
        let is_it = self.cluster.may_be(cluster);
        if is_it {
            self.cluster.fill_from(cluster);
        }
        is_it
    }

    /// Replaces the known indexes by these, all that exist at `now`. Returns true if an index came or went. A new index may be a minute
    /// old, so its time begins at `now`. A time after `now`, from before the server's clock was set back, begins again.
    pub fn observe(&mut self, indexes: impl Iterator<Item = u32>, now: f64) -> bool {
        let before = std::mem::take(&mut self.indexes);
        let since = |index| before.get(&index).copied().filter(|since| *since <= now).unwrap_or(now);
        self.indexes = indexes.map(|index| (index, since(index))).collect();
        self.indexes != before
    }

    /// Takes over earlier times from a note of the same cluster.
    pub fn merge_earlier(&mut self, earlier: &Self) {
        if !self.is_of_cluster(&earlier.cluster) {
            return;
        }
        for (index, since) in &mut self.indexes {
            *since = earlier.indexes.get(index).map_or(*since, |before| before.min(*since));
        }
    }

    /// The note to store over a restart, with the indexes known longest.
    pub fn note(&self) -> Self {
        let mut longest: Vec<(u32, f64)> = self.indexes.iter().map(|(index, since)| (*index, *since)).collect();
        longest.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        longest.truncate(NOTED_MAX);
        Self { cluster: self.cluster.clone(), indexes: longest.into_iter().collect() }
    }

    /// Seconds since the first observation of an index; `None` for an unknown index.
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
    fn an_index_is_known_since_its_first_observation() {
        let mut seen = of(Some("7412"));
        assert!(seen.observe([1, 2].into_iter(), 100.0));
        assert!(!seen.observe([1, 2].into_iter(), 110.0));
        assert!(seen.observe([2, 3].into_iter(), 120.0));
        assert_eq!([1, 2, 3].map(|index| seen.seconds(index, 125.0)), [None, Some(25.0), Some(5.0)]);
        seen.observe([1].into_iter(), 130.0);
        assert_eq!(seen.seconds(1, 130.0), Some(0.0), "it went and came again");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older_and_later_nothing_too_old() {
        let mut seen = of(Some("7412"));
        seen.observe([1].into_iter(), 1_000.0);
        assert!(seen.observe([1].into_iter(), 500.0));
        assert_eq!(seen.seconds(1, 510.0), Some(10.0));
    }

    #[test]
    fn a_note_of_the_same_cluster_is_restored() {
        let mut earlier = of(Some("7412"));
        earlier.observe([1, 2].into_iter(), 100.0);
        let note = serde_json::to_string(&earlier.note()).unwrap();
        let earlier: FirstSeen = serde_json::from_str(&note).unwrap();
        for (system, expected) in [(Some("7412"), Some(400.0)), (None, Some(400.0)), (Some("8"), Some(0.0))] {
            let mut seen = of(system);
            seen.observe([1, 3].into_iter(), 500.0);
            seen.merge_earlier(&earlier);
            assert_eq!([1, 3].map(|index| seen.seconds(index, 500.0)), [expected, Some(0.0)], "{system:?}");
        }
    }

    #[test]
    fn a_question_that_failed_makes_no_other_cluster_and_another_answer_does() {
        let mut seen = of(None);
        assert!(
            seen.is_of_cluster(&Cluster::new(Some("7412")))
                && seen.is_of_cluster(&Cluster::default())
                && !seen.is_of_cluster(&Cluster::new(Some("8")))
        );
    }

    #[test]
    fn a_note_is_bounded_to_the_indexes_known_longest() {
        let mut seen = of(None);
        seen.observe(1_000..2_000, 1.0);
        seen.observe(0..30_000, 2.0);
        let note = seen.note();
        assert_eq!((note.indexes.len(), note.seconds(1_500, 3.0)), (NOTED_MAX, Some(2.0)));
    }
}
