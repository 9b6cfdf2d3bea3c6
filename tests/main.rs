//! The end-to-end tests: one binary, so that wasmtime is linked once.
//!
//! Everything is real: servers are started on free ports in temporary folders ([`fixture`]), the agent runs in this process or as the
//! built program, plugins are the shipped ones or small guests under `tests/plugins`.
//!
//! - `tidy`: rules of the source tree.
//! - `config`, `cli`: what users type.
//! - `collect`, `faults`, `versions`: facts from real servers, and what happens when they misbehave.
//! - `plugins`, `reload`: the sandbox and live reload.
//! - `alerting`, `api`: from a finding to a receiver and to HTTP.
//! - `demo`: the throw-away servers themselves.

#![expect(clippy::unwrap_used, reason = "what a helper of a test cannot unwrap fails the test")]

mod fixture;

mod alerting;
mod api;
mod cli;
mod config;
mod demo;
mod smoke;
mod store;
mod tidy;
