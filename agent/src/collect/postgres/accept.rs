//! Whether the server still accepts sessions.
//!
//! A postmaster that hangs leaves open sessions working, so the monitor would go on and see nothing wrong while no application can
//! connect any more.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::Family;
use tracing::warn;

use crate::collect::{CollectError, Collector, Facts};
use crate::postgres::{ConnectError, Connector, Session};
use crate::telemetry::logs::chain;

const NAME: &str = "accept";

pub struct Accept {
    interval: Duration,
    /// Its session is the second of the two that the agent may have, and lives for one handshake.
    connector: Connector,
}

impl Accept {
    pub fn new(interval: Duration, connector: Connector) -> Self {
        Self { interval, connector }
    }
}

impl Collector<Session> for Accept {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, _: &'a mut Session, _: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        async {
            let accepted = match self.connector.connect().await {
                Ok(_) => 1.0,
                // Ours is the hindrance, so nothing is known.
                Err(source @ ConnectError::NoPlace) => return Err(CollectError::Connect { collector: NAME, source }),
                Err(err) => {
                    let server = self.connector.address.id();
                    warn!(server, reason = err.reason(), error = chain(&err), "`{server}` accepts no new sessions; open ones go on");
                    0.0
                }
            };
            Ok(Facts { families: vec![Family::scalar("pharos_postgres_accepting_connections", accepted)], ..Facts::default() })
        }
        .boxed()
    }
}
