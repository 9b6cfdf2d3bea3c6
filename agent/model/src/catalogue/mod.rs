//! The catalogue: every metric and table that a snapshot may carry.

pub mod metrics;
