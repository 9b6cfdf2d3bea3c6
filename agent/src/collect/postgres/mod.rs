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
use pharos_model::snapshot::{Column, PartId, Table};
use pharos_model::subject::{Label, Subject, SubjectKind};

pub use self::access::ServerAccess;
use self::visit::Visitor;
use super::schedule::{Background, ConnectFailure, Source, Spending};
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
        Box::new(server::Server::new(interval.of(server::PART.as_str()), notebook.clone())),
        Box::new(activity::Activity::new(interval.of(activity::PART.as_str()), interval.of("sample"))),
        Box::new(locks::Locks::new(interval.of(locks::PART.as_str()))),
        Box::new(database::Database::new(interval.of(database::PART.as_str()), notebook.clone())),
        Box::new(wal::Wal::new(interval.of(wal::PART.as_str()))),
        stateless(horizon::PART, interval, horizon::collect),
        stateless(autovacuum::PART, interval, autovacuum::collect),
        stateless(progress::PART, interval, progress::collect),
        Box::new(replication::Replication::new(interval.of(replication::PART.as_str()), notebook.clone())),
        Box::new(subscriptions::Subscriptions::new(interval.of(subscriptions::PART.as_str()))),
        Box::new(statements::Statements::new(interval.of(statements::PART.as_str()))),
        Box::new(io::Io::new(interval.of(io::PART.as_str()))),
        stateless(limits::PART, interval, limits::collect),
        stateless(encryption::PART, interval, encryption::collect),
        Box::new(settings::Settings::new(interval.of(settings::PART.as_str()), notebook.clone())),
        Box::new(sizes::Sizes::new(interval.of(sizes::PART.as_str()), collect.deadline.saturating_sub(collect.statement_timeout))),
    ]
}

fn stateless(part: PartId, intervals: &Intervals, collect: Collect) -> Box<dyn Collector<Session>> {
    Box::new(Stateless { part, interval: intervals.of(part.as_str()), collect })
}

type Collect = fn(&Session) -> BoxFuture<'_, Result<Facts, CollectError>>;

/// A collector that keeps nothing from one run to the next.
struct Stateless {
    part: PartId,
    interval: Duration,
    collect: Collect,
}

impl Collector<Session> for Stateless {
    fn part(&self) -> PartId {
        self.part
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
        let failure = |err: ConnectError| ConnectFailure { reason: err.reason().failure(), text: chain(&err), trouble: err.trouble() };
        async move { self.access.connector.connect_anywhere().await.map_err(failure) }.boxed()
    }

    fn begin<'a>(&'a self, session: &'a mut Session, collector: PartId) -> BoxFuture<'a, Result<(), CollectError>> {
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
        let Some(own) = facts.table("own_statements") else { return };
        for row in 0..own.row_count as usize {
            let number = |column| own.number(column, row).unwrap_or(0.0);
            let collector = own.text("collector", row).unwrap_or_default();
            spending.counted(collector, number("seconds"), number("blocks"), number("temp_bytes"));
        }
    }

    fn learn(&mut self, facts: &Facts) {
        if let Some(identity) = facts.table("identity") {
            self.was_in_recovery = identity.boolean("in_recovery", 0);
        }
    }

    fn tables_without_session(&self, _: &ConnectFailure) -> Vec<Table> {
        let role = self.was_in_recovery.map(|was_in_recovery| if was_in_recovery { "standby" } else { "primary" });
        vec![Table::new("last_role", vec![Column::text("role", role.map(Some))])]
    }

    fn background(&self, clock: Clock, spending: &Spending) -> Option<Box<dyn Background>> {
        Some(Box::new(Visitor::new(self.access.clone(), &self.notebook, clock, spending.clone())))
    }
}
