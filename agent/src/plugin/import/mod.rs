//! Imports of plugins: the host's side of each interface, and the limits and grants that hold for it.

pub mod context;
mod disclosure;
pub mod egress;
mod every_world;
pub mod imports;
pub mod mail;
mod outbound;
mod snapshots;
pub mod state;
mod stdio;
mod tls;
pub mod wrong_setting;
