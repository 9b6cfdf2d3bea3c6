//! Facts of one PostgreSQL server.

mod accept;
mod activity;
mod database;
mod locks;
mod replication;
mod row;
mod server;
mod statements;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::subject::{Label, Subject};

use super::schedule::{ConnectFailure, Source};
use super::{CollectError, Collector};
use crate::postgres::{Connector, Session};
use crate::telemetry::logs::chain;

/// A PostgreSQL server of a `[[database]]`.
pub struct PostgresSource {
    /// The name of the `[[database]]`.
    pub database: String,
    pub connector: Connector,
}

impl PostgresSource {
    pub fn id(&self) -> String {
        self.connector.address.id()
    }
}

/// Every collector, in the order in which they run. `locks` follows `activity`, which can ask for it at once.
fn collectors(connector: &Connector) -> Vec<Box<dyn Collector<Session>>> {
    let interval = &connector.collect.interval;
    vec![
        Box::new(server::Server::new(interval.server)),
        Box::new(activity::Activity::new(interval.activity)),
        Box::new(locks::Locks::new(interval.locks)),
        Box::new(database::Database::new(interval.database)),
        Box::new(replication::Replication::new(interval.replication)),
        Box::new(statements::Statements::new(interval.statements)),
        Box::new(accept::Accept::new(interval.accept, connector.clone())),
    ]
}

impl Source for PostgresSource {
    type Session = Session;

    fn subject(&self) -> Subject {
        Subject {
            kind: "postgres".to_owned(),
            id: self.id(),
            version: String::new(),
            labels: vec![Label::new("database", &self.database), Label::new("server", self.id())],
        }
    }

    fn up_metric(&self) -> &'static str {
        "pharos_postgres_up"
    }

    fn connect(&self) -> BoxFuture<'_, Result<Session, ConnectFailure>> {
        async { self.connector.connect().await.map_err(|err| ConnectFailure { reason: err.reason(), text: chain(&err) }) }.boxed()
    }

    fn version(session: &Session) -> String {
        session.version().to_owned()
    }

    fn is_closed(session: &Session) -> bool {
        session.is_closed()
    }

    fn collectors(&self) -> Vec<Box<dyn Collector<Session>>> {
        collectors(&self.connector)
    }
}

/// Statistics of other roles are empty without this privilege, not refused; so it is asked for before they are read.
fn need_all_stats(session: &Session) -> Result<(), CollectError> {
    if session.reads_all_stats() {
        return Ok(());
    }
    let role = session.role();
    Err(CollectError::Unsupported(format!("role `{role}` does not see other roles' statistics; run: GRANT pg_monitor TO \"{role}\"")))
}
