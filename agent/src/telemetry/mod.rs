//! Logs and the agent's own metrics.

pub mod lines;
pub mod logs;
pub mod metrics;
