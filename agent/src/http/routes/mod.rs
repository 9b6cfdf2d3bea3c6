//! Areas of the interface. Each file or folder has the state of one area, its routes and their handlers.

pub mod alerts;
pub mod audit;
pub mod database;
pub mod health;
pub mod metrics;
pub mod outbox;
pub mod plugins;
pub mod receivers;
pub mod services;
pub mod silences;
