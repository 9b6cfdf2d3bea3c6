//! The end-to-end tests: one binary, so that wasmtime is linked once.
//!
//! Everything is real: servers are started on free ports in temporary folders ([`fixture`]), the agent runs in this process or as the
//! built program, plugins are the shipped ones or small guests under `tests/plugins`.
//!
//! - `tidy`: rules of the source tree.
//! - `config`, `cli`, `rules`: what users type.
//! - `collect`, `sessions`, `faults`, `versions`: facts from real servers, how they are asked, and what happens when they misbehave.
//! - `contract`: what was released of `wit/` stands, and what was built for it is served.
//! - `plugins`, `hosting`, `health`, `refusals`, `egress`, `reload`, `javascript`: the sandbox, what it stands on, and live reload.
//! - `lifecycle`: how everything ends.
//! - `alerting`, `durability`, `api`: from a finding to a receiver, whatever happens on the way, and to HTTP.
//! - `demo`: the throw-away servers themselves, and `pharos demo`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stood")]

mod fixture;

mod alerting;
mod api;
mod cli;
mod collect;
mod config;
mod contract;
mod demo;
mod durability;
mod egress;
mod faults;
mod health;
mod hosting;
mod javascript;
mod lifecycle;
mod plugins;
mod refusals;
mod reload;
mod rules;
mod sessions;
mod smoke;
mod store;
mod tidy;
mod versions;
