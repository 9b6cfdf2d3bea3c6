//! Facts of one PostgreSQL server.

mod accept;
mod activity;
mod database;
mod locks;
mod replication;
mod row;
mod server;
mod statements;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::subject::{Label, Subject};

use super::schedule::{ConnectFailure, Source};
use super::{CollectError, Collector, Facts};
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
        Box::new(Stateless { name: server::NAME, interval: interval.server, collect: server::collect }),
        Box::new(Stateless { name: activity::NAME, interval: interval.activity, collect: activity::collect }),
        Box::new(Stateless { name: locks::NAME, interval: interval.locks, collect: locks::collect }),
        Box::new(Stateless { name: database::NAME, interval: interval.database, collect: database::collect }),
        Box::new(Stateless { name: replication::NAME, interval: interval.replication, collect: replication::collect }),
        Box::new(statements::Statements::new(interval.statements)),
        Box::new(accept::Accept::new(interval.accept, connector.clone())),
    ]
}

/// A collector that keeps nothing from one run to the next.
struct Stateless {
    name: &'static str,
    interval: Duration,
    collect: fn(&Session) -> BoxFuture<'_, Result<Facts, CollectError>>,
}

impl Collector<Session> for Stateless {
    fn name(&self) -> &'static str {
        self.name
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, _: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        (self.collect)(session)
    }
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

    fn begin<'a>(&'a self, session: &'a mut Session, collector: &'static str) -> BoxFuture<'a, Result<(), CollectError>> {
        let deadline = self.connector.collect.deadline_of(collector);
        let begun = session.begin(deadline, self.connector.collect.statement_timeout_within(deadline));
        async move { begun.await.map_err(|source| CollectError::Query { collector, source }) }.boxed()
    }

    fn caveat(session: &Session) -> Option<String> {
        session.caveat()
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
