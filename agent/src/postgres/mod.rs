//! Connections to PostgreSQL: how they are opened, encrypted, bounded and refused.
//!
//! No other room of the crate opens a PostgreSQL connection. What only monitoring needs is in [`monitor`].

pub mod monitor;
mod refusal;
mod wire;

pub use self::refusal::RefusalReason;
