//! The HTTP interface as types: requests, answers, and the client that uses both.
//!
//! `http` answers with these types and `cli` reads them. `GET /api/openapi.json` is made from them, so all three always agree. Their doc
//! comments are the served documentation. This module uses nothing of the agent but the model.

pub(crate) mod alert;
pub(crate) mod audit;
pub mod client;
pub(crate) mod decision;
pub(crate) mod error;
pub(crate) mod facts;
pub(crate) mod indexes;
pub(crate) mod list;
pub(crate) mod locks;
mod names;
pub(crate) mod outbox;
pub(crate) mod plugin;
pub(crate) mod receiver;
pub(crate) mod service;
pub(crate) mod silence;
pub(crate) mod slow_queries;
