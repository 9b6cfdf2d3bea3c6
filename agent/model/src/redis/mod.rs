//! Calculations behind the Redis collectors.

pub mod key_history;
