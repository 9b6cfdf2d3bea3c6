//! Costs of statements (pg_stat_statements): counters without text on each tick, text only for statements not seen before.

mod collector;
mod extension;
mod families;
mod texts;

pub use self::collector::Statements;
