//! A Redis server as a source of the schedule, and its collectors.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::error_chain::chain;
use pharos_model::snapshot::{Column, PartId, Table};
use pharos_model::subject::{Label, Subject, SubjectKind};

use super::info;
use crate::collect::schedule::{ConnectFailure, Source};
use crate::collect::{CollectError, Collector, Notebook};
use crate::config::collect::CollectConfig;
use crate::redis::RedisError;
use crate::redis::monitor::{Connector, Session};

/// A server of a `[[redis]]`.
pub(crate) struct RedisSource {
    /// The name of the `[[redis]]`.
    pub database: String,
    pub connector: Connector,
    pub collect: CollectConfig,
    pub notebook: Notebook,
}

impl RedisSource {
    pub(crate) fn id(&self) -> String {
        self.connector.endpoint.address.id()
    }
}

/// Lists every collector, in the order in which they run.
fn collectors(collect: &CollectConfig, notebook: &Notebook) -> Vec<Box<dyn Collector<Session>>> {
    vec![Box::new(info::Info::new(collect.interval.of(PartId::Info.as_str()), notebook.clone()))]
}

impl Source for RedisSource {
    type Session = Session;

    fn subject(&self) -> Subject {
        Subject {
            kind: SubjectKind::Redis,
            id: self.id(),
            version: String::new(),
            labels: vec![Label::new("database", &self.database), Label::new("server", self.id())],
        }
    }

    fn up_metric(&self) -> &'static str {
        "pharos_redis_up"
    }

    fn connect(&self) -> BoxFuture<'_, Result<Session, ConnectFailure>> {
        let failure = |err: RedisError| ConnectFailure { reason: err.reason().failure(), text: chain(&err), trouble: err.trouble() };
        async move { self.connector.connect().await.map_err(failure) }.boxed()
    }

    fn begin<'a>(&'a self, session: &'a mut Session, collector: PartId) -> BoxFuture<'a, Result<(), CollectError>> {
        session.begin(self.collect.deadline_of(collector.as_str()));
        std::future::ready(Ok(())).boxed()
    }

    fn version(session: &Session) -> Option<String> {
        session.version().map(ToOwned::to_owned)
    }

    fn is_closed(_: &Session) -> bool {
        // A multiplexed connection reports its end at the next command.
        false
    }

    fn collectors(&self) -> Vec<Box<dyn Collector<Session>>> {
        collectors(&self.collect, &self.notebook)
    }

    fn tables_without_session(&self, failure: &ConnectFailure) -> Vec<Table> {
        let (reason, why) = (Column::text("reason", [Some(failure.reason.as_str())]), Column::text("why", [Some(failure.text.as_str())]));
        vec![Table::new("unreachable", vec![reason, why])]
    }

    fn budget(&self) -> f64 {
        self.collect.budget
    }
}
