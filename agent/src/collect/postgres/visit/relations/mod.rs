//! The tables and indexes of one datname, read together: `tables` and `indexes` both need both.
//!
//! Whichever of the two comes first in a visit reads; the other one finds it here. Only exact sizes wait for locks, so they are asked for
//! relations that nobody locks, one by one; where somebody is faster, all sizes of that visit are pages of the last vacuum or analyze, and
//! say that they are not exact. What no vacuum or analyze has counted yet has no such pages, so it is asked for first.

mod rows;
mod shared;
mod surroundings;

pub use self::rows::{IndexRow, LockedRelation, TableRow, is_catalog};
pub use self::shared::{Relations, SharedRelations};
pub use self::surroundings::Surroundings;
