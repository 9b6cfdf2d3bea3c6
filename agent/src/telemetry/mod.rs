//! Logs and the agent's own metrics.

pub(crate) mod lines;
pub mod logs;
pub mod metrics;
