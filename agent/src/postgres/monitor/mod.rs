//! Monitoring sessions: at most two per server, read-only, bounded on both sides, and checked to be the agent's own.

mod accepting_datnames;
mod connect_error;
mod connector;
mod limits;
mod odd_names;
mod other_datname;
mod places;
mod query_error;
mod row;
mod server_state;
mod session;
mod setup;
mod versioned;

pub use self::connect_error::ConnectError;
pub use self::connector::Connector;
pub use self::limits::SessionLimits;
pub use self::odd_names::OddNames;
pub use self::places::Places;
pub use self::query_error::QueryError;
pub use self::row::{Row, Value};
pub use self::session::Session;
pub use self::setup::{GUARDS, MARK};
pub use self::versioned::Versioned;
