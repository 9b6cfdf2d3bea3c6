//! Topology of a database: which server is the primary, which ones are standbys and how far behind, and whether all are of one cluster.
//!
//! The configuration gives only the list of servers; a role is what the server itself reported last. Two primaries are a split brain only
//! if each was seen writing after the other had begun. During a switchover, the old primary's last report is still there when the new one
//! already writes.

mod news;
#[cfg(test)]
mod properties;
mod report;
mod state;
#[cfg(test)]
mod stories;
mod tracker;

pub use self::news::{News, NewsKind};
pub use self::report::{Identity, Report, Role};
pub use self::state::{Lag, Member, TopologyState};
pub use self::tracker::Topology;
