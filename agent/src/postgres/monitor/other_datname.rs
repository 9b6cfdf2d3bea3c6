//! Sessions in another datname, while the configured datname refuses them.

use std::time::Duration;

use pharos_model::error_chain::chain;
use tracing::{info, warn};

use super::connect_error::ConnectError;
use super::connector::Connector;
use super::session::Session;

/// Longest time of a session in another datname, before the configured datname is tried again.
const ELSEWHERE_FOR: Duration = Duration::from_mins(5);

impl Connector {
    /// Records that a session began in this datname, so that it can stand in for the configured one.
    pub fn record_accepting(&self) {
        self.places.accepting(|datnames| datnames.record(&self.endpoint.address.datname));
    }

    /// Opens a session for queries that any datname answers: in the configured datname, or for a while in another if only that one refuses.
    /// An error is that of the configured datname.
    pub async fn connect_anywhere(&self) -> Result<Session, ConnectError> {
        match self.connect().await {
            Err(refused) => self.connect_elsewhere(&refused).await.ok_or(refused),
            Ok(session) => {
                self.log_return();
                Ok(session)
            }
        }
    }

    /// Opens a session in another datname, if the reason of the refusal concerns the configured datname alone.
    pub async fn connect_elsewhere(&self, refused: &ConnectError) -> Option<Session> {
        if !refused.reason().is_of_datname_alone() {
            return None;
        }
        for datname in self.places.accepting(|datnames| datnames.others(&self.endpoint.address.datname)) {
            if let Ok(session) = self.to(&datname).connect().await {
                self.log_detour(&datname, refused);
                return Some(session.mark_elsewhere(ELSEWHERE_FOR));
            }
        }
        None
    }

    fn log_return(&self) {
        if self.places.accepting(|datnames| datnames.elsewhere.take()).is_some() {
            let address = &self.endpoint.address;
            info!(server = address.id(), datname = address.datname, "`{}` accepts sessions again", address.datname);
        }
    }

    fn log_detour(&self, datname: &str, refused: &ConnectError) {
        let before = self.places.accepting(|datnames| datnames.elsewhere.replace(datname.to_owned()));
        if before.as_deref() != Some(datname) {
            let address = &self.endpoint.address;
            warn!(
                server = address.id(),
                datname = address.datname,
                reason = refused.reason().as_str(),
                error = chain(refused),
                "`{}` accepts no session; the server is monitored through `{datname}` meanwhile",
                address.datname
            );
        }
    }
}
