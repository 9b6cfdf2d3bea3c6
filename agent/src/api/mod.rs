//! The HTTP interface as types: what a request may carry, what is answered, and the client that speaks both.
//!
//! `http` answers with these types and `cli` reads them, so neither can differ from the other or from `GET /api/openapi.json`, which is made
//! from them. This module knows nothing of the agent.

pub mod client;
pub mod error;
