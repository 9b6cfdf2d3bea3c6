//! The end-to-end tests: one binary, so that wasmtime is linked once.
//!
//! Everything is real: servers are started on free ports in temporary folders ([`fixture`]), the agent runs in this process or as the
//! built program, plugins are the shipped ones or small guests under `tests/plugins`.
//!
//! - `tidy`: rules of the source tree.
//! - `config`, `mistakes`, `settings`, `files`, `relays`, `cli`, `doctor`, `rules`: what users type.
//! - `collect`, `activity`, `statements`, `sessions`, `privileges`, `encodings`, `pooler`, `faults`, `versions`: facts from real servers, how they are asked, and what happens when they misbehave.
//! - `catalogue`: the facts of a whole server, each brought about.
//! - `visits`: what is read inside every datname.
//! - `topology`: databases of several servers, through failovers, split brains and replaced clusters.
//! - `contract`: what was released of `wit/` stands, and what was built for it is served.
//! - `plugins`, `hosting`, `health`, `refusals`, `schemas`, `texts`, `egress`, `secrets`, `reload`, `plugin_files`, `code_cache`, `javascript`: the
//!   sandbox, what it stands on, and live reload.
//! - `lifecycle`: how everything ends.
//! - `access`, `connections`, `hostile`: strangers at the API and behind the addresses of servers.
//! - `alerting`, `routing`, `silences`, `durability`, `flood`, `api`: from a finding to a receiver, whatever happens on the way, and to HTTP.
//! - `findings`, `fixes`: troubles of real servers, what the shipped plugins make of them, and the cures that they print.
//! - `all_clear`: alerts of what cannot be judged any more, or is out of sight, do not resolve.
//! - `restarts`: restarts and crashes that are over before the next look.
//! - `redis_server`: Redis servers that refuse, encrypt, or are full: what is said of each, and the cures that are printed.
//! - `shared`: what is told once for a database, and what a server was told to be and is no trouble.
//! - `agent_subject`: the agent as a subject of its own, and the rules about it.
//! - `mail`, `receivers`: what notifiers send, read by real servers, and every trouble that those can make.
//! - `demo`: the throw-away servers themselves, and `pharos demo`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stood")]

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
mod plugin_files;
mod plugins;
mod pooler;
mod privileges;
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
