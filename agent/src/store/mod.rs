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
pub(crate) mod ownership;
mod plugin_state;
mod reader;
mod unmatched;

pub use self::alerts::AlertChanges;
pub(crate) use self::audit_chain::AuditRow;
pub use self::audit_chain::AuditVerdict;
pub(crate) use self::directory::{inspect, places_aside};
pub use self::error::StoreError;
pub use self::handle::Store;
pub use self::notes::NoteKey;
pub(crate) use self::outbox::{Claim, UnreportedIncident};
pub use self::outbox::{OutboxRow, OutboxTurn, RowFilter};
pub(crate) use self::ownership::OwnerError;
pub use self::plugin_state::{Entry, Expected, Limits as PluginStateLimits, Written};
pub use self::reader::StoreReader;
