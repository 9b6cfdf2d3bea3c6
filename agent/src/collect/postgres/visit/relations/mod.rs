//! The tables and indexes of one datname, read together: `tables` and `indexes` both need both.
//!
//! The first of the two visits reads them, and the other one uses the same readings. Only the query for exact sizes waits for locks, so it
//! leaves out locked relations. If a session locks a relation meanwhile, all sizes of that visit are pages of the last vacuum or analyze.
//! They are then marked as not exact. Relations that no vacuum or analyze has counted have no such pages, so they come first.

mod datname_context;
mod rows;
mod shared;

pub(super) use self::datname_context::DatnameContext;
pub(super) use self::rows::{IndexRow, LockedRelation, TableRow, is_catalog};
pub(super) use self::shared::{Relations, SharedRelations};
