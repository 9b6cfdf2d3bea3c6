//! Running plugins: the engine, one instance and its limits, whose turn it is, and when a plugin is quarantined.

pub mod blueprint;
pub mod budget;
pub mod call_error;
pub mod engine;
pub mod generation;
pub mod instance;
pub mod linked;
pub mod quarantine;
mod repairs;
pub mod turns;
