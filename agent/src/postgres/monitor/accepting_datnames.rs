//! Other datnames of a server, for the time while the configured datname refuses sessions.
//!
//! The owner of a datname may limit, close, rename or drop it, and any superuser may revoke CONNECT. None of that shows anything about
//! the server. For facts that any datname has, the agent therefore uses another one, and tries the configured datname again after a while.

use std::collections::VecDeque;

/// The datname that `initdb` makes for general use. `template1` is not used: a session there blocks CREATE DATABASE.
const COMMON: &str = "postgres";
/// Most datnames that are tried after the common one: the latest visited. An open session prevents that its datname is renamed or dropped.
const RECORDED_MAX: usize = 2;

/// The datnames where sessions began, and the datname that stands in for the configured one.
#[derive(Debug, Default)]
pub(super) struct AcceptingDatnames {
    /// Datnames where sessions began, the latest first.
    open: VecDeque<String>,
    /// The datname that stands in for the configured one, while one does.
    pub elsewhere: Option<String>,
}

impl AcceptingDatnames {
    /// Records that a session began in this datname.
    pub(super) fn record(&mut self, datname: &str) {
        self.open.retain(|known| known != datname);
        self.open.push_front(datname.to_owned());
        self.open.truncate(RECORDED_MAX);
    }

    /// Returns the datnames to try in place of `home`, in order.
    pub(super) fn others(&self, home: &str) -> Vec<String> {
        let mut others: Vec<String> = self.open.iter().filter(|datname| *datname != COMMON).cloned().collect();
        others.insert(0, COMMON.to_owned());
        others.retain(|datname| datname != home);
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_datnames_are_the_common_one_and_those_where_sessions_began_last() {
        let mut datnames = AcceptingDatnames::default();
        assert_eq!(datnames.others("app"), ["postgres"]);
        assert!(datnames.others("postgres").is_empty());
        for datname in ["a", "b", "a", "c"] {
            datnames.record(datname);
        }
        assert_eq!(datnames.others("app"), ["postgres", "c", "a"]);
    }
}
