//! `/api/database/...`: the latest facts of the monitored servers, from the snapshots on the board.

mod area;
mod facts;
mod indexes;
mod locks;
mod slow_queries;
mod snapshots;

pub(crate) use self::area::area;
pub(crate) use self::snapshots::DatabaseState;
