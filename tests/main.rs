//! The end-to-end tests: one binary, so that wasmtime is linked once.
//!
//! Everything is real: servers are started on free ports in temporary folders ([`fixture`]), the agent runs in this process or as the
//! built program, plugins are the shipped ones or small guests under `tests/plugins`.
//!
//! Each module begins with what must never happen; `README.md` beside this file is their index.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics at its line")]
#![expect(unreachable_pub, reason = "a test binary serves no other crate, so `pub` here means its other modules")]

mod fixture;

mod access;
mod activity;
mod agent_subject;
mod alerting;
mod all_clear;
mod api;
mod audit;
mod catalogue;
mod cli;
mod clock;
mod code_cache;
mod collect;
mod config;
mod connections;
mod contract;
mod cost;
mod demo;
mod disk_faults;
mod doctor;
mod durability;
mod egress;
mod encodings;
mod failing;
mod faults;
mod files;
mod findings;
mod first_words;
mod fixes;
mod flood;
mod full_disk;
mod health;
mod hostile;
mod hosting;
mod javascript;
mod last_words;
mod lifecycle;
mod mail;
mod migration;
mod mistakes;
mod openapi;
mod plugin_files;
mod plugins;
mod pooler;
mod privileges;
mod promises;
mod python;
mod receivers;
mod redis_server;
mod refusals;
mod relays;
mod reload;
mod restarts;
mod routing;
mod rules;
mod sandbox;
mod schemas;
mod secrets;
mod sessions;
mod settings;
mod shared;
mod silences;
mod smoke;
mod statements;
mod store;
mod texts;
mod tidy;
mod topology;
mod versions;
mod visits;
