//! How one PostgreSQL server is reached, and the deadlines of its queries.

use crate::collect::CollectError;
use crate::config::collect::CollectConfig;
use crate::postgres::monitor::{Connector, Session};
use pharos_model::snapshot::PartId;

/// A server's connector with the `[collect]` settings, for the main session and for visits of datnames.
#[derive(Debug, Clone)]
pub(crate) struct ServerAccess {
    pub connector: Connector,
    pub collect: CollectConfig,
}

impl ServerAccess {
    /// Returns access to another datname of the same server.
    pub(crate) fn to(&self, datname: &str) -> Self {
        Self { connector: self.connector.to(datname), collect: self.collect.clone() }
    }

    /// The datname that sessions are opened in.
    pub(crate) fn datname(&self) -> &str {
        &self.connector.endpoint.address.datname
    }

    /// The role that sessions log in as.
    pub(crate) fn user(&self) -> &str {
        &self.connector.endpoint.address.user
    }

    /// Prepares the session for a run of this collector, within the deadline of the collector.
    pub(crate) async fn begin(&self, session: &mut Session, collector: PartId) -> Result<(), CollectError> {
        let deadline = self.collect.deadline_of(collector.as_str());
        let begun = session.begin(collector.as_str(), deadline, self.collect.statement_timeout_within(deadline)).await;
        begun.map_err(|source| CollectError::Query { collector, source })
    }
}
