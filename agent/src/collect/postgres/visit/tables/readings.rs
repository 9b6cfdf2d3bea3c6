//! The readings of one datname's tables, which wait for the end of the round.

use std::sync::Arc;

use super::oldest::OldRelation;
use crate::collect::postgres::visit::bloat::Estimates;
use crate::collect::postgres::visit::relations::Relations;

/// The readings of one datname's tables.
pub(super) struct TableReadings {
    pub relations: Arc<Relations>,
    pub estimates: Arc<Estimates>,
    pub oldest: Vec<OldRelation>,
}
