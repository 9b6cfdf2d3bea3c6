//! Connections to Redis: how they are opened, encrypted, bounded and refused.
//!
//! No other part of the crate opens a Redis connection. An [`endpoint`] opens connections for every use. Everything that only monitoring
//! needs is in [`monitor`].

pub(crate) mod endpoint;
mod error;
mod handshake;
pub mod monitor;
mod refusal;

pub use self::endpoint::Endpoint;
pub use self::error::RedisError;
pub use self::refusal::RefusalReason;
