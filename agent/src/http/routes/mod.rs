//! Areas of the interface. Each file or room holds an area's narrow state, its routes and their handlers.

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
