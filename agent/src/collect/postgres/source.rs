//! A PostgreSQL server as a source of the schedule, and its collectors.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::budget::Cost;
use pharos_model::error_chain::chain;
use pharos_model::snapshot::{Column, PartId, Table};
use pharos_model::subject::{Label, Subject, SubjectKind};

use super::access::ServerAccess;
use super::visit::DatnameVisits;
use super::{
    activity, autovacuum, database, encryption, horizon, io, limits, locks, progress, replication, server, settings, sizes, statements,
    subscriptions, wal,
};
use crate::clock::Clock;
use crate::collect::schedule::{Background, ConnectFailure, Source, Spending};
use crate::collect::{CollectError, Collector, Facts, Notebook};
use crate::config::collect::CollectConfig;
use crate::postgres::monitor::{ConnectError, Session};

/// A PostgreSQL server of a `[[database]]`.
pub(crate) struct PostgresSource {
    /// The name of the `[[database]]`.
    pub database: String,
    pub access: ServerAccess,
    pub notebook: Notebook,
    /// Whether the server was a standby in its last answer, if there was one.
    pub was_in_recovery: Option<bool>,
}

impl PostgresSource {
    pub(crate) fn id(&self) -> String {
        self.access.connector.endpoint.address.id()
    }
}

/// Lists every collector of the main session, in the order in which they run. `locks` follows `activity`, which can make it run at once.
fn collectors(collect: &CollectConfig, notebook: &Notebook) -> Vec<Box<dyn Collector<Session>>> {
    let every = |part: PartId| collect.interval.of(part.as_str());
    vec![
        Box::new(server::Server::new(every(PartId::Server), notebook.clone())),
        Box::new(activity::Activity::new(every(PartId::Activity), collect.interval.of("sample"))),
        Box::new(locks::Locks::new(every(PartId::Locks))),
        Box::new(database::DatnameCounters::new(every(PartId::Database), notebook.clone())),
        Box::new(wal::Wal::new(every(PartId::Wal))),
        stateless(PartId::Horizon, every(PartId::Horizon), horizon::collect),
        stateless(PartId::Autovacuum, every(PartId::Autovacuum), autovacuum::collect),
        stateless(PartId::Progress, every(PartId::Progress), progress::collect),
        Box::new(replication::Replication::new(every(PartId::Replication), notebook.clone())),
        Box::new(subscriptions::Subscriptions::new(every(PartId::Subscriptions))),
        Box::new(statements::Statements::new(every(PartId::Statements))),
        Box::new(io::Io::new(every(PartId::Io))),
        stateless(PartId::Limits, every(PartId::Limits), limits::collect),
        stateless(PartId::Encryption, every(PartId::Encryption), encryption::collect),
        Box::new(settings::Settings::new(every(PartId::Settings), notebook.clone())),
        Box::new(sizes::Sizes::new(every(PartId::Sizes), collect.deadline.saturating_sub(collect.statement_timeout))),
    ]
}

fn stateless(part: PartId, interval: Duration, collect: Collect) -> Box<dyn Collector<Session>> {
    Box::new(Stateless { part, interval, collect })
}

type Collect = fn(&Session) -> BoxFuture<'_, Result<Facts, CollectError>>;

/// A collector without state from one run to the next.
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
            spending.record_server_cost(collector, number("seconds"), number("blocks"), number("temp_bytes"));
        }
    }

    fn observe(&mut self, facts: &Facts) {
        if let Some(identity) = facts.table("identity") {
            self.was_in_recovery = identity.boolean("in_recovery", 0);
        }
    }

    fn tables_without_session(&self, _: &ConnectFailure) -> Vec<Table> {
        let role = self.was_in_recovery.map(|was_in_recovery| if was_in_recovery { "standby" } else { "primary" });
        vec![Table::new("last_role", vec![Column::text("role", role.map(Some))])]
    }

    fn background(&self, clock: Clock, spending: &Spending) -> Option<Box<dyn Background>> {
        Some(Box::new(DatnameVisits::new(self.access.clone(), &self.notebook, clock, spending.clone())))
    }
}
