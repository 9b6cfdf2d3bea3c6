//! The catalogues: every metric and every table that a snapshot may carry.

#[cfg(test)]
mod authors_page;
pub mod metrics;
pub mod tables;
