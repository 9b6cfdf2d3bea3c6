//! Facts of one PostgreSQL server.

mod access;
mod activity;
mod autovacuum;
mod database;
mod encryption;
mod horizon;
mod io;
mod limits;
mod locks;
pub(crate) mod privileges;
mod progress;
mod replication;
mod rights;
mod row;
mod server;
mod settings;
mod sizes;
mod source;
mod statements;
mod subscriptions;
mod visit;
mod wal;

pub(crate) use self::access::ServerAccess;
pub(crate) use self::source::PostgresSource;
