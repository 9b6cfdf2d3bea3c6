//! Sessions with PostgreSQL: how they are opened, encrypted, bounded and given up.
//!
//! Nobody else in the crate opens a PostgreSQL connection.

mod connect;
mod refusal;
mod session;
mod tls;
mod wire;

pub use connect::{ConnectError, Connector, Places};
pub use session::{MARK, QueryError, Session, Versioned};
pub use tls::TlsError;
