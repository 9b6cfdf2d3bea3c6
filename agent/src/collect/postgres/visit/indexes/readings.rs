//! The readings of one datname's indexes, which wait for the end of the round.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_model::unjudged::Unjudged;

use super::index_facts::IndexFact;
use super::schema_facts::SchemaFact;
use crate::collect::postgres::visit::bloat::Estimates;
use crate::collect::postgres::visit::relations::Relations;

/// The readings of one datname's indexes.
pub(super) struct IndexReadings {
    pub relations: Arc<Relations>,
    pub estimates: Arc<Estimates>,
    /// Indexes (by oid) that a constraint needs.
    pub constraints: BTreeSet<u32>,
    pub index_facts: Vec<IndexFact>,
    pub schema_facts: Vec<SchemaFact>,
    pub unjudged: Vec<Unjudged>,
}
