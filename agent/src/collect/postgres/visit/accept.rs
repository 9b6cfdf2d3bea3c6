//! Whether the server still accepts sessions.
//!
//! A postmaster that hangs leaves open sessions working, so the monitor would go on and see nothing wrong while no application can
//! connect any more.

use pharos_model::error_chain::chain;
use pharos_model::snapshot::{Column, Family, PartId, Table};
use tracing::{info, warn};

use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::{ConnectError, Connector};

pub const PART: PartId = PartId::Accept;

pub struct Accept {
    /// Its session is the second of the two that the agent may have, and lives for one handshake.
    connector: Connector,
    refused: bool,
}

impl Accept {
    pub fn new(connector: Connector) -> Self {
        Self { connector, refused: false }
    }

    pub async fn knock(&mut self) -> Result<Facts, CollectError> {
        let refusal = match self.connector.connect().await {
            Ok(_) => None,
            // The server was not asked, so nothing is known.
            Err(source) if source.trouble().is_own() || matches!(source, ConnectError::NoPlace) => {
                return Err(CollectError::Connect { collector: PART, source });
            }
            // It may wait for every session to leave, so both of ours do.
            Err(source) if source.is_shutdown() => return Err(CollectError::Connect { collector: PART, source }),
            Err(err) => Some(err),
        };
        self.tell(refusal.as_ref());
        let accepted = if refusal.is_none() { 1.0 } else { 0.0 };
        let families = vec![Family::scalar("pharos_postgres_accepting_connections", accepted)];
        Ok(Facts { families, tables: refusal.iter().map(table).collect(), ..Facts::default() })
    }

    /// Says so in the log where it changed.
    fn tell(&mut self, refusal: Option<&ConnectError>) {
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

/// Why no session was had, for those who explain it.
fn table(err: &ConnectError) -> Table {
    let why = chain(err);
    Table::new("refusal", vec![Column::text("reason", [Some(err.reason().as_str())]), Column::text("why", [Some(why.as_str())])])
}
