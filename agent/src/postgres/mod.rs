//! Sessions with PostgreSQL: how they are opened, encrypted, bounded and given up.
//!
//! Nobody else in the crate opens a PostgreSQL connection.

mod connect;
mod odd_names;
mod refusal;
mod row;
mod session;
mod tls;

pub use connect::{ConnectError, Connector, Places};
pub use odd_names::OddNames;
pub use row::{Row, Value};
pub use session::{MARK, QueryError, Session, Versioned};
pub use tls::TlsError;
