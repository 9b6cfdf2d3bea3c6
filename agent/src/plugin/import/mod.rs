//! Imports of plugins: the host's side of each interface, and the limits and grants that hold for it.

pub(crate) mod context;
mod disclosure;
pub mod egress;
mod every_world;
pub(crate) mod imports;
pub(crate) mod mail;
mod outbound;
mod snapshots;
pub(crate) mod state;
mod stdio;
mod tls;
pub(crate) mod wrong_setting;
