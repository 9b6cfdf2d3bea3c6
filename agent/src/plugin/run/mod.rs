//! Running plugins: the engine, one instance and its limits, whose turn it is, and when a plugin is quarantined.

pub(crate) mod blueprint;
pub(crate) mod budget;
pub(crate) mod call_error;
pub(crate) mod callee;
pub mod engine;
pub(crate) mod generation;
pub(crate) mod instance;
pub(crate) mod linked;
pub mod quarantine;
mod repairs;
pub(crate) mod turns;
