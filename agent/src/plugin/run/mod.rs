//! How a plugin runs: the engine, one instance and its limits, whose turn it is, and when a plugin is not called for a while.

pub mod budget;
pub mod call_error;
pub mod engine;
pub mod generation;
pub mod instance;
pub mod quarantine;
mod repairs;
pub mod turns;
