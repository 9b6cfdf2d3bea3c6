//! The embedded SQLite state: everything that must survive a restart.
//!
//! One thread owns the database; every other part sends it work and waits. Each directory has one agent: a lock file names its process.
//! `keeper` handles a failing disk.

mod alerts;
mod audit;
mod audit_chain;
mod ballast;
mod columns;
mod condition;
mod damage;
mod directory;
mod error;
mod event_table;
mod events;
mod file;
mod handle;
mod keeper;
mod ledger;
mod lock;
mod memory;
mod migrate;
mod notes;
mod outbox;
pub mod ownership;
mod plugin_state;
mod reader;
mod unmatched;

pub use self::alerts::AlertChanges;
pub use self::audit_chain::{AuditRow, AuditVerdict, BrokenLink};
pub use self::condition::Condition;
pub use self::directory::{inspect, places_aside};
pub use self::error::StoreError;
pub use self::event_table::StoredEvent;
pub use self::handle::Store;
pub use self::notes::NoteKey;
pub use self::outbox::{Claim, OpenOutbox, OutboxRow, OutboxTurn, RowFilter, UnreportedIncident};
pub use self::ownership::OwnerError;
pub use self::plugin_state::{Entry, Limits as PluginStateLimits, Written};
pub use self::reader::StoreReader;
