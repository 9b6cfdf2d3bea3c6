//! The facts of one datname's tables, until the round ends.

use std::sync::Arc;

use super::oldest::OldRelation;
use crate::collect::postgres::visit::bloat::Estimates;
use crate::collect::postgres::visit::relations::Relations;

/// What was read of the tables of one datname.
pub struct Look {
    pub relations: Arc<Relations>,
    pub estimates: Arc<Estimates>,
    pub oldest: Vec<OldRelation>,
}
