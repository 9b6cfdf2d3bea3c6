//! The HTTP interface as types: what a request may carry, what is answered, and the client that speaks both.
//!
//! `http` answers with these types and `cli` reads them, so neither can differ from the other or from `GET /api/openapi.json`, which is made
//! from them. Their documentation is that of the interface. This module knows nothing of the agent but the model.

pub mod alert;
pub mod audit;
pub mod client;
pub mod decision;
pub mod error;
pub mod facts;
pub mod indexes;
pub mod list;
pub mod locks;
mod names;
pub mod outbox;
pub mod plugin;
pub mod receiver;
pub mod service;
pub mod silence;
pub mod slow_queries;
