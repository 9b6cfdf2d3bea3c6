//! The Pharos agent.
//!
//! ```text
//! config -> postgres/redis -> collect -> Snapshot -> delta -> plugins judge -> findings -> alert book -> transitions
//!                                                      |                                                   |
//!                                                      +-> board -> http: API, /metrics                    v
//!                                                      notifier plugin <- notify <- store <- dispatcher: which receiver, and why not
//! ```
//! Read [`pipeline`] first, then [`agent`] (what exists, in start order), then one collector. Who may import whom is in
//! `ARCHITECTURE.md` and checked by `tests/tidy/`.

pub mod agent;
pub mod api;
pub mod board;
pub(crate) mod bounded;
pub mod cli;
pub mod clock;
pub(crate) mod collect;
pub mod config;
pub mod demo;
pub(crate) mod dial;
pub mod http;
pub mod lifecycle;
pub(crate) mod notify;
pub(crate) mod pipeline;
pub mod plugin;
pub mod postgres;
pub mod redis;
pub(crate) mod request;
pub mod store;
pub mod telemetry;
pub(crate) mod tls;
