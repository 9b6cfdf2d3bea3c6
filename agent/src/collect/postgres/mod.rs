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
pub mod privileges;
mod progress;
mod replication;
mod rights;
mod row;
mod server;
mod settings;
mod sizes;
mod statements;
mod subscriptions;
mod visit;
mod wal;

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::budget::Cost;
use pharos_model::snapshot::{Column, Table};
use pharos_model::subject::{Label, Subject, SubjectKind};

pub use self::access::ServerAccess;
use self::visit::Visitor;
use super::schedule::{Aside, ConnectFailure, Source, Spending};
use super::{CollectError, Collector, Facts, Notebook};
use crate::clock::Clock;
use crate::config::collect::{CollectConfig, Intervals};
use crate::postgres::monitor::{ConnectError, Session};
use crate::telemetry::logs::chain;

/// A PostgreSQL server of a `[[database]]`.
pub struct PostgresSource {
    /// The name of the `[[database]]`.
    pub database: String,
    pub access: ServerAccess,
    pub notebook: Notebook,
    /// Whether it was a standby when it answered last; none before it did.
    pub was_in_recovery: Option<bool>,
}

impl PostgresSource {
    pub fn id(&self) -> String {
        self.access.connector.endpoint.address.id()
    }
}

/// Every collector of the session that stays, in the order in which they run. `locks` follows `activity`, which can ask for it at once.
fn collectors(collect: &CollectConfig, notebook: &Notebook) -> Vec<Box<dyn Collector<Session>>> {
    let interval = &collect.interval;
    vec![
        Box::new(server::Server::new(interval.of(server::NAME), notebook.clone())),
        Box::new(activity::Activity::new(interval.of(activity::NAME), interval.of("sample"))),
        Box::new(locks::Locks::new(interval.of(locks::NAME))),
        Box::new(database::Database::new(interval.of(database::NAME), notebook.clone())),
        Box::new(wal::Wal::new(interval.of(wal::NAME))),
        stateless(horizon::NAME, interval, horizon::collect),
        stateless(autovacuum::NAME, interval, autovacuum::collect),
        stateless(progress::NAME, interval, progress::collect),
        Box::new(replication::Replication::new(interval.of(replication::NAME), notebook.clone())),
        Box::new(subscriptions::Subscriptions::new(interval.of(subscriptions::NAME))),
        Box::new(statements::Statements::new(interval.of(statements::NAME))),
        Box::new(io::Io::new(interval.of(io::NAME))),
        stateless(limits::NAME, interval, limits::collect),
        stateless(encryption::NAME, interval, encryption::collect),
        Box::new(settings::Settings::new(interval.of(settings::NAME), notebook.clone())),
        Box::new(sizes::Sizes::new(interval.of(sizes::NAME), collect.deadline.saturating_sub(collect.statement_timeout))),
    ]
}

fn stateless(name: &'static str, intervals: &Intervals, collect: Collect) -> Box<dyn Collector<Session>> {
    Box::new(Stateless { name, interval: intervals.of(name), collect })
}

type Collect = fn(&Session) -> BoxFuture<'_, Result<Facts, CollectError>>;

/// A collector that keeps nothing from one run to the next.
struct Stateless {
    name: &'static str,
    interval: Duration,
    collect: Collect,
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
            kind: SubjectKind::Postgres,
            id: self.id(),
            version: String::new(),
            labels: vec![Label::new("database", &self.database), Label::new("server", self.id())],
        }
    }

    fn up_metric(&self) -> &'static str {
        "pharos_postgres_up"
    }

    fn connect(&self) -> BoxFuture<'_, Result<Session, ConnectFailure>> {
        let failure = |err: ConnectError| ConnectFailure { reason: err.reason().as_str(), text: chain(&err), trouble: err.trouble() };
        async move { self.access.connector.connect_anywhere().await.map_err(failure) }.boxed()
    }

    fn begin<'a>(&'a self, session: &'a mut Session, collector: &'static str) -> BoxFuture<'a, Result<(), CollectError>> {
        self.access.begin(session, collector).boxed()
    }

    fn caveat(session: &Session) -> Option<String> {
        session.caveat()
    }

    fn version(session: &Session) -> Option<String> {
        Some(session.version().to_owned())
    }

    fn is_closed(session: &Session) -> bool {
        session.is_closed()
    }

    fn collectors(&self) -> Vec<Box<dyn Collector<Session>>> {
        collectors(&self.access.collect, &self.notebook)
    }

    fn budget(&self) -> f64 {
        self.access.collect.budget
    }

    fn take_cost(session: &Session) -> Cost {
        session.take_cost()
    }

    fn account(facts: &Facts, spending: &Spending) {
        let Some(own) = facts.tables.iter().find(|table| table.name == "own_statements") else { return };
        for row in 0..own.row_count as usize {
            let number = |column| own.number(column, row).unwrap_or(0.0);
            let collector = own.text("collector", row).unwrap_or_default();
            spending.counted(collector, number("seconds"), number("blocks"), number("temp_bytes"));
        }
    }

    fn learn(&mut self, facts: &Facts) {
        if let Some(identity) = facts.tables.iter().find(|table| table.name == "identity") {
            self.was_in_recovery = identity.boolean("in_recovery", 0);
        }
    }

    fn tables_without_session(&self, _: &ConnectFailure) -> Vec<Table> {
        let role = self.was_in_recovery.map(|was_in_recovery| if was_in_recovery { "standby" } else { "primary" });
        vec![Table::new("last_role", vec![Column::text("role", role.map(Some))])]
    }

    fn aside(&self, clock: Clock, spending: &Spending) -> Option<Box<dyn Aside>> {
        Some(Box::new(Visitor::new(self.access.clone(), &self.notebook, clock, spending.clone())))
    }
}
