//! Connections to Redis: how they are opened, encrypted, bounded and refused.
//!
//! No other room of the crate opens a Redis connection. An [`endpoint`] opens bare ones for every use; what only monitoring needs is in
//! [`monitor`].

pub mod endpoint;
mod error;
mod handshake;
pub mod monitor;
mod refusal;

pub use self::endpoint::Endpoint;
pub use self::error::RedisError;
