//! Costs of statements (pg_stat_statements). Counters are read at each tick, texts only for statements whose text is not stored yet.

mod collector;
mod extension;
mod families;
mod texts;

pub(super) use self::collector::Statements;
