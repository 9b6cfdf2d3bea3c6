//! `/api/database/...`: the latest facts of the watched servers, each out of the snapshots that the board holds.

mod area;
mod facts;
mod indexes;
mod locks;
mod slow_queries;
mod snapshots;

pub use self::area::area;
pub use self::snapshots::DatabaseState;
