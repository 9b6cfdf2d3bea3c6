//! Checks whether the server still accepts new sessions.
//!
//! Open sessions keep working while a postmaster hangs. Without this check the agent would see nothing wrong while no application can
//! connect any more.

use pharos_model::error_chain::chain;
use pharos_model::snapshot::{Column, Family, PartId, Table};
use tracing::{info, warn};

use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::{ConnectError, Connector};

pub(super) const PART: PartId = PartId::Accept;

/// Opens a session at each check and closes it at once.
pub(super) struct AcceptCheck {
    /// The session of a check is the second of the two that the agent may have, and lives for one handshake.
    connector: Connector,
    /// Whether the last check was refused.
    refused: bool,
}

impl AcceptCheck {
    pub(super) fn new(connector: Connector) -> Self {
        Self { connector, refused: false }
    }

    /// Opens a session and closes it at once. Returns an error if the result is unknown, or if the server is shutting down.
    pub(super) async fn connect_once(&mut self) -> Result<Facts, CollectError> {
        let refusal = match self.connector.connect().await {
            Ok(_) => None,
            // The trouble is on the side of the agent: it shows nothing about the server.
            Err(source) if source.trouble().is_own() || matches!(source, ConnectError::NoPlace) => {
                return Err(CollectError::Connect { collector: PART, source });
            }
            // A server that shuts down may wait until every session ends, so both sessions of the agent end.
            Err(source) if source.is_shutdown() => return Err(CollectError::Connect { collector: PART, source }),
            Err(err) => Some(err),
        };
        self.log_change(refusal.as_ref());
        let accepted = if refusal.is_none() { 1.0 } else { 0.0 };
        let families = vec![Family::scalar("pharos_postgres_accepting_connections", accepted)];
        Ok(Facts { families, tables: refusal.iter().map(table).collect(), ..Facts::default() })
    }

    /// Logs when the server stops accepting sessions, and when it accepts them again.
    fn log_change(&mut self, refusal: Option<&ConnectError>) {
        let server = self.connector.endpoint.address.id();
        let was_refused = std::mem::replace(&mut self.refused, refusal.is_some());
        match refusal {
            Some(err) if !was_refused => {
                warn!(server, reason = err.reason().as_str(), error = chain(err), "`{server}` accepts no new sessions");
            }
            None if was_refused => info!(server, "`{server}` accepts new sessions again"),
            _ => {}
        }
    }
}

/// Makes the table `refusal` with the reason why no session began.
fn table(err: &ConnectError) -> Table {
    let why = chain(err);
    Table::new("refusal", vec![Column::text("reason", [Some(err.reason().as_str())]), Column::text("why", [Some(why.as_str())])])
}
