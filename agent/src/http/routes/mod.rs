//! Areas of the interface. Each file or folder has the state of one area, its routes and their handlers.

pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod database;
pub(crate) mod health;
pub mod metrics;
pub(crate) mod outbox;
pub(crate) mod plugins;
pub(crate) mod receivers;
pub(crate) mod services;
pub(crate) mod silences;
