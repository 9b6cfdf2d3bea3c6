//! Connections to PostgreSQL: how they are opened, encrypted, bounded and refused.
//!
//! No other part of the crate opens a PostgreSQL connection. An [`endpoint`] opens connections for every use. Everything that only
//! monitoring needs is in [`monitor`].

pub(crate) mod endpoint;
pub mod monitor;
mod refusal;
mod wire;

pub use self::endpoint::{Endpoint, OpenError};
pub use self::refusal::RefusalReason;
