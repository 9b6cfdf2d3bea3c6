//! Calculations behind the PostgreSQL collectors.
//!
//! Sessions and locks: [`active_sessions`], [`lock_tree`]. Statements: [`statements`]. Tables and indexes: [`bloat`], [`index_facts`],
//! [`unused_indexes`], [`vacuum`], [`sequences`], and [`visits`], which plans the reading of every datname. Replication: [`topology`],
//! [`replay_lag`], [`lsn_history`], [`archiver`]. The server as a whole: [`settings`], [`resets`], [`privilege`]. Bytes from the server:
//! [`intake`], [`server_text`].

pub mod active_sessions;
pub mod archiver;
pub mod bloat;
pub mod index_facts;
pub mod intake;
pub mod lock_tree;
pub mod lsn_history;
pub mod privilege;
pub mod replay_lag;
pub mod resets;
pub mod sequences;
pub mod server_text;
pub mod settings;
pub mod statements;
pub mod topology;
pub mod unused_indexes;
pub mod vacuum;
pub mod visits;
