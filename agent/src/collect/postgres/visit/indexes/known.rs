//! The knowledge of one datname's indexes that lasts from one visit to the next.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::postgres::index_facts::{FirstSeen, ScanHistory};
use pharos_model::snapshot::PartId;

use super::definitions::Definitions;
use crate::collect::Notebook;
use crate::collect::postgres::visit::bloat::Estimates;
use crate::collect::postgres::visit::relations::{IndexRow, Relations};

/// Knowledge of a datname's indexes that lasts from one visit to the next.
#[derive(Debug, Default)]
pub struct Known {
    pub definitions: Definitions,
    pub estimates: Arc<Estimates>,
    /// When each unused index was first seen.
    pub first_seen: FirstSeen,
    /// How its tables were read lately.
    pub scans: ScanHistory,
    /// Whether it is known what an earlier run of the agent had seen.
    pub is_recalled: bool,
    /// Whether what was first seen is stored as it is.
    pub is_noted: bool,
    /// Changes when an index came, went, became valid or that of a primary key.
    pub mark: u64,
}

impl Known {
    /// Nothing is known of another cluster behind the same address.
    pub fn enter(&mut self, cluster: &Cluster) {
        if !self.first_seen.is_of_cluster(cluster) {
            *self = Self { first_seen: FirstSeen::of(cluster.clone()), ..Self::default() };
        }
    }

    /// Remembers since when each unused index is known. Of one that is read, the server's own statistics say enough; the time of one that
    /// stands in for another begins when that is gone.
    pub async fn meet(&mut self, relations: &Relations, stand_ins: &HashSet<u32>, notebook: &Notebook, now: Now) {
        let surroundings = &relations.surroundings;
        let is_unused = |index: &&IndexRow| index.scans == 0 && index.is_users() && !stand_ins.contains(&index.oid);
        let unused = relations.indexes.iter().filter(is_unused).map(|index| index.oid);
        self.is_noted &= !self.first_seen.observe(unused, surroundings.asked_at);
        let topic = surroundings.datname_oid.to_string();
        if !self.is_recalled
            && let Ok(earlier) = notebook.read::<FirstSeen>(PartId::Indexes, &topic, now).await
        {
            earlier.iter().for_each(|earlier| self.first_seen.take_over(earlier));
            self.is_recalled = true;
        }
        // Before that, what was noted knows more.
        if self.is_recalled && !self.is_noted {
            self.is_noted = notebook.write(PartId::Indexes, &topic, &self.first_seen.note(), Vec::new(), now).await.is_ok();
        }
    }
}

/// A unique index may become that of a primary key.
pub fn mark(relations: &Relations) -> u64 {
    let mut indexes: Vec<(u32, bool, bool)> = relations.indexes.iter().map(|index| (index.oid, index.is_valid, index.is_primary)).collect();
    indexes.sort_unstable();
    let mut hasher = DefaultHasher::new();
    indexes.hash(&mut hasher);
    hasher.finish()
}
