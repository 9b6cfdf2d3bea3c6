//! How far standbys are behind, from both sides, and what replication slots keep (pg_stat_replication, pg_replication_slots).
//!
//! Seconds come from when this server was at the place where a standby is now, both told by the agent's own clock: what
//! pg_stat_replication says itself stands still with a standby that does.

mod collector;
mod idle;
mod senders;
mod slots;
mod standby;

pub use self::collector::Replication;
