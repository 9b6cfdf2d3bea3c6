//! The lag of standbys, read on both sides, and the WAL that replication slots retain (pg_stat_replication, pg_replication_slots).
//!
//! The lag in seconds is the time since this server was at the present position of the standby, by the agent's own clock. The lag columns
//! of pg_stat_replication do not grow while a standby is stuck.

mod collector;
mod idle_slots;
mod senders;
mod slots;
mod standby;

pub(super) use self::collector::Replication;
