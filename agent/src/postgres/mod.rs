//! Sessions with PostgreSQL: how they are opened, encrypted, bounded and given up.
//!
//! Nobody else in the crate opens a PostgreSQL connection.

mod connect;
mod contact;
mod entrance;
mod odd_names;
mod refusal;
mod row;
mod session;
mod setup;
mod wire;

pub use connect::{ConnectError, Connector, Places};
pub use odd_names::OddNames;
pub use refusal::RefusalReason;
pub use row::{Row, Value};
pub use session::{QueryError, Session, Versioned};
pub use setup::{GUARDS, MARK};
