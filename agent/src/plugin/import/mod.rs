//! What plugins import: the host's side of each interface, and the limits and grants that hold for it.

pub mod context;
mod disclosure;
pub mod egress;
pub mod imports;
pub mod mail;
pub mod snapshots;
pub mod state;
mod stdio;
mod tls;
