//! Every index: how large, how used, and what the catalogue says against it or for one that is missing.
//!
//! Counters and what is invalid are read in every visit. Definitions, foreign keys and bloat are looked at in every sixth, and at once when an index came,
//! went or became valid; what was found is judged by the counters of the day.

mod batches;
mod definitions;
mod found;
mod index_facts;
mod invalid;
mod known;
mod listing;
mod look;
mod schema_facts;
mod visit;

pub use self::visit::Indexes;
