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
pub mod bounded;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod demo;
pub mod dial;
pub mod http;
pub mod lifecycle;
pub mod notify;
pub mod pipeline;
pub mod plugin;
pub mod postgres;
pub mod redis;
pub mod request;
pub mod store;
pub mod telemetry;
pub mod tls;
