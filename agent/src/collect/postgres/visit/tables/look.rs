//! The facts of one datname's tables, until the round ends.

use std::sync::Arc;

use super::oldest::OldRelation;
use crate::collect::postgres::visit::bloat::Estimates;
use crate::collect::postgres::visit::relations::Relations;

/// The readings of one datname's tables.
pub struct Look {
    pub relations: Arc<Relations>,
    pub estimates: Arc<Estimates>,
    pub oldest: Vec<OldRelation>,
}
