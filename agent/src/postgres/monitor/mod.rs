//! Monitoring sessions: at most two per server, read-only, bounded on both sides, and recognised as the agent's own.

mod connector;
mod contact;
mod entrance;
mod odd_names;
mod row;
mod session;
mod setup;

pub use self::connector::{ConnectError, Connector, Places};
pub use self::odd_names::OddNames;
pub use self::row::{Row, Value};
pub use self::session::{QueryError, Session, Versioned};
pub use self::setup::{GUARDS, MARK};
