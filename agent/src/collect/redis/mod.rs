//! Facts of one Redis server.

mod fields;
mod info;
mod losses;
mod numbers;
mod rows;
mod source;

pub use self::source::RedisSource;
