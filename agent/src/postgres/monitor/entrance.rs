//! The way into a server whose configured datname refuses sessions.
//!
//! The owner of a datname may limit it, close it, rename it or drop it, and any superuser may take CONNECT away. None of that says anything
//! about the server. So where any datname will do, another one is asked, and the configured one again after a while.

use std::collections::VecDeque;
use std::time::Duration;

use tracing::{info, warn};

use super::connector::{ConnectError, Connector};
use super::session::Session;
use crate::telemetry::logs::chain;

/// The datname that `initdb` makes for those who want any. Not `template1`: a session there is in the way of CREATE DATABASE.
const COMMON: &str = "postgres";
/// Other datnames that are tried: those that were visited last. While a session stays in one, it cannot be renamed or dropped.
const REMEMBERED_MAX: usize = 2;
/// How long a session in another datname lasts before the configured one is asked again.
const ELSEWHERE_FOR: Duration = Duration::from_mins(5);

/// Where sessions began, and whether the one that stays had to go elsewhere.
#[derive(Debug, Default)]
pub(super) struct Entrance {
    /// The latest first.
    open: VecDeque<String>,
    elsewhere: Option<String>,
}

impl Entrance {
    /// A session began there.
    pub fn let_in(&mut self, datname: &str) {
        self.open.retain(|known| known != datname);
        self.open.push_front(datname.to_owned());
        self.open.truncate(REMEMBERED_MAX);
    }

    fn others(&self, home: &str) -> Vec<String> {
        let mut others: Vec<String> = self.open.iter().filter(|datname| *datname != COMMON).cloned().collect();
        others.insert(0, COMMON.to_owned());
        others.retain(|datname| datname != home);
        others
    }
}

impl Connector {
    /// A session began in this datname, and one may stay there.
    pub fn remember_as_entrance(&self) {
        self.places.entrance(|entrance| entrance.let_in(&self.address.datname));
    }

    /// Opens a session for what can be asked in any datname: in the configured one, and for a while in another one where only that refuses.
    /// An error is that of the configured one.
    pub async fn connect_anywhere(&self) -> Result<Session, ConnectError> {
        match self.connect().await {
            Err(refused) => self.connect_elsewhere(&refused).await.ok_or(refused),
            Ok(session) => {
                self.is_home();
                Ok(session)
            }
        }
    }

    /// Opens a session in another datname, where the configured one refused and that says nothing of the server.
    pub async fn connect_elsewhere(&self, refused: &ConnectError) -> Option<Session> {
        if !refused.reason().is_of_datname_alone() {
            return None;
        }
        for datname in self.places.entrance(|entrance| entrance.others(&self.address.datname)) {
            if let Ok(session) = self.to(&datname).connect().await {
                self.is_elsewhere(&datname, refused);
                return Some(session.elsewhere(ELSEWHERE_FOR));
            }
        }
        None
    }

    /// Logged where it changes.
    fn is_home(&self) {
        if self.places.entrance(|entrance| entrance.elsewhere.take()).is_some() {
            info!(server = self.address.id(), datname = self.address.datname, "`{}` gives sessions again", self.address.datname);
        }
    }

    fn is_elsewhere(&self, datname: &str, refused: &ConnectError) {
        let before = self.places.entrance(|entrance| entrance.elsewhere.replace(datname.to_owned()));
        if before.as_deref() != Some(datname) {
            warn!(
                server = self.address.id(),
                datname = self.address.datname,
                reason = refused.reason().as_str(),
                error = chain(refused),
                "`{}` gives no session; the server is asked through `{datname}` meanwhile",
                self.address.datname
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_datnames_are_the_common_one_and_those_where_sessions_began_last() {
        let mut entrance = Entrance::default();
        assert_eq!(entrance.others("app"), ["postgres"]);
        assert!(entrance.others("postgres").is_empty());
        for datname in ["a", "b", "a", "c"] {
            entrance.let_in(datname);
        }
        assert_eq!(entrance.others("app"), ["postgres", "c", "a"]);
    }
}
