//! Connections to PostgreSQL: how they are opened, encrypted, bounded and refused.
//!
//! No other room of the crate opens a PostgreSQL connection. An [`endpoint`] opens bare ones for every use; what only monitoring needs is in
//! [`monitor`].

pub mod endpoint;
pub mod monitor;
mod refusal;
mod wire;

pub use self::endpoint::{Endpoint, OpenError};
pub use self::refusal::RefusalReason;
