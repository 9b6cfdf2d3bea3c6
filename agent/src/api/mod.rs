//! The HTTP interface as types: requests, answers, and the client that uses both.
//!
//! `http` answers with these types and `cli` reads them. `GET /api/openapi.json` is made from them, so all three always agree. Their doc
//! comments are the served documentation. This module uses nothing of the agent but the model.

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
