//! What Pharos knows and how it decides, without touching the world.
//!
//! Reading order: [`subject`] (what is observed), [`snapshot`] (one subject at one instant), [`delta`] (two snapshots turned into rates),
//! [`finding`] (what plugins say of it), [`alert`] (findings over time), [`dispatch`] (who is told of them, and why not),
//! [`notification`] (what they are told), [`outbox`] (in which order, and until when). [`metric`] is the catalogue of every metric's name,
//! [`active_sessions`], [`statements`], [`lock_tree`], [`lsn_history`], [`key_history`], [`topology`], [`unused_indexes`], [`unjudged`],
//! [`unlisted`], [`sequences`], [`settings`],
//! [`resets`] and [`top`] are the arithmetic behind collectors, [`budget`] what they may cost, [`rule_case`] tests rules on facts that people wrote,
//! [`text`] makes strangers' words safe to show, [`server_text`] shows bytes of a server as text.
//!
//! Invariant: nothing here reads a clock, a file, the environment or the network. Time is an argument, so that every judgement can be
//! tested in milliseconds and replayed.

pub mod active_sessions;
pub mod alert;
pub mod archive;
pub mod bloat;
pub mod budget;
pub mod cluster;
pub mod delta;
pub mod dispatch;
pub mod finding;
pub mod foremost;
pub mod index_facts;
pub mod intake;
pub mod key_history;
pub mod lock_tree;
pub mod lsn_history;
pub mod metric;
pub mod notification;
pub mod outbox;
pub mod privilege;
pub mod replay_lag;
pub mod resets;
pub mod restarts;
pub mod rule_case;
pub mod sequences;
pub mod server_text;
pub mod settings;
pub mod snapshot;
pub mod statements;
pub mod subject;
pub mod text;
pub mod top;
pub mod topology;
pub mod unjudged;
pub mod unlisted;
pub mod unused_indexes;
pub mod vacuum;
pub mod visits;
