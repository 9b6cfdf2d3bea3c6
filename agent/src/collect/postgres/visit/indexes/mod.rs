//! Every index: its size and use, and reasons to drop it, repair it or add another one.
//!
//! Counters and invalid indexes are read in every visit. Definitions, foreign keys and bloat are read in every sixth visit, and at once
//! when an index is added, removed or becomes valid. Facts are always judged with the latest counters.

mod batches;
mod bounded_lists;
mod definitions;
mod index_facts;
mod index_state;
mod invalid;
mod listing;
mod readings;
mod schema_facts;
mod visit;

pub(super) use self::visit::Indexes;
