//! What the agent says about itself: logs and its own metrics.

pub mod lines;
pub mod logs;
pub mod metrics;
