//! Facts of one Redis server.

mod fields;
mod info;
mod losses;
mod numbers;
mod rows;
mod source;

pub(crate) use self::source::RedisSource;
