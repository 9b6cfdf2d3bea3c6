//! The state of one datname's indexes that lasts from one visit to the next.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::postgres::index_facts::{FirstSeen, ScanHistory};
use pharos_model::snapshot::PartId;

use super::definitions::Definitions;
use crate::collect::postgres::visit::bloat::Estimates;
use crate::collect::postgres::visit::relations::{IndexRow, Relations};
use crate::collect::{NoteName, Notebook};

/// The state of one datname's indexes that lasts from one visit to the next.
#[derive(Debug, Default)]
pub(super) struct IndexState {
    pub definitions: Definitions,
    pub estimates: Arc<Estimates>,
    /// When each unused index was first seen.
    pub first_seen: FirstSeen,
    /// How the tables of the datname were read lately.
    pub scans: ScanHistory,
    /// Whether the note of an earlier run of the agent was restored.
    pub is_restored: bool,
    /// Whether the store has the current `first_seen`.
    pub is_stored: bool,
    /// Changes when an index is added or removed, becomes valid, or becomes the index of a primary key.
    pub fingerprint: u64,
}

impl IndexState {
    /// Clears the state if another cluster is behind the same address now.
    pub(super) fn reset_for_other_cluster(&mut self, cluster: &Cluster) {
        if !self.first_seen.is_of_cluster(cluster) {
            *self = Self { first_seen: FirstSeen::of(cluster.clone()), ..Self::default() };
        }
    }

    /// Stores since when each unused index is known. An index with scans needs no such time: the statistics of the server are enough. For
    /// an index that stands in for a superfluous one, the time begins when the superfluous one is dropped.
    pub(super) async fn observe_unused(&mut self, relations: &Relations, stand_ins: &HashSet<u32>, notebook: &Notebook, now: Now) {
        let context = &relations.context;
        let is_unused = |index: &&IndexRow| index.scans == 0 && index.is_users() && !stand_ins.contains(&index.oid);
        let unused = relations.indexes.iter().filter(is_unused).map(|index| index.oid);
        self.is_stored &= !self.first_seen.observe(unused, context.asked_at);
        let topic = context.datname_oid.to_string();
        let name = NoteName { collector: PartId::Indexes, topic: &topic };
        if !self.is_restored
            && let Ok(earlier) = notebook.read::<FirstSeen>(name, now).await
        {
            earlier.iter().for_each(|earlier| self.first_seen.merge_earlier(earlier));
            self.is_restored = true;
        }
        // Before the note was restored it may hold earlier times, so it is not replaced.
        if self.is_restored && !self.is_stored {
            self.is_stored = notebook.write(name, &self.first_seen.note(), Vec::new(), now).await.is_ok();
        }
    }
}

/// Returns a number that changes with the set of indexes. A unique index may become the index of a primary key, which counts as well.
pub(super) fn fingerprint(relations: &Relations) -> u64 {
    let mut indexes: Vec<(u32, bool, bool)> = relations.indexes.iter().map(|index| (index.oid, index.is_valid, index.is_primary)).collect();
    indexes.sort_unstable();
    let mut hasher = DefaultHasher::new();
    indexes.hash(&mut hasher);
    hasher.finish()
}
