//! What the agent's sessions with one server learned from each other.
//!
//! A server that shuts down refuses sessions with the code of one that starts. Its words differ and are in the server's language, so they
//! decide nothing. But a server that starts, or recovers from a crash, has no sessions: where one of ours stands, or was just dismissed, the
//! server is stopping. A session that stays then would keep a smart shutdown waiting for ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::error::{DbError, SqlState};

/// Datnames that are remembered; past this they are forgotten, and cost one refused session each.
const GUARDED_MAX: usize = 1_000;

/// How long sessions of a datname bring their time limits along, before one without them is tried again: presets go, and what looked like
/// one may have been something else.
pub(super) const GUARDED_FOR: Duration = Duration::from_hours(1);

/// How long after the end of a session a refusal says that the server stops: past it, the server may well be starting again.
const DISMISSAL_MAX: Duration = Duration::from_secs(3);

/// Shared by all sessions with one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Contact(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Sessions that stand.
    standing: usize,
    /// When the server ended one of the sessions in good order, unless another one began since.
    dismissed: Option<Instant>,
    /// Where in the server's source its refusals came from when it was known to be stopping. One that starts again refuses from elsewhere.
    stopping: Option<Place>,
    /// Datnames where presets end a session before it has settings of its own, and since when that is known.
    guarded: BTreeMap<String, Instant>,
    /// Of the server that answered last.
    epoch: Option<u64>,
    major: u32,
    /// Whether a session began with SCRAM, in which the server proves that it knows the password.
    has_scram: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: Option<String>,
    line: Option<u32>,
}

impl Place {
    fn of(refusal: &DbError) -> Self {
        Self { file: refusal.file().map(str::to_owned), line: refusal.line() }
    }
}

/// Lives as long as its session stands.
#[derive(Debug)]
pub(super) struct Standing(Contact);

impl Drop for Standing {
    fn drop(&mut self) {
        let mut known = self.0.known();
        known.standing = known.standing.saturating_sub(1);
    }
}

impl Contact {
    /// A session began: the server is up, whatever was known before.
    pub fn began(&self) -> Standing {
        let mut known = self.known();
        known.standing += 1;
        (known.dismissed, known.stopping) = (None, None);
        Standing(self.clone())
    }

    /// A session that stood was ended from outside.
    pub fn ended(&self, error: &tokio_postgres::Error) {
        let mut known = self.known();
        if error.code() == Some(&SqlState::ADMIN_SHUTDOWN) {
            known.dismissed = Some(Instant::now());
        } else if known.dismissed.is_none() {
            // That is all a session sees of a crash, and a server that recovers from one refuses as well.
            known.stopping = None;
        }
    }

    /// No session began. Returns whether the server is stopping.
    pub fn refused(&self, error: &tokio_postgres::Error) -> bool {
        let mut known = self.known();
        match error.as_db_error() {
            Some(refusal) if *refusal.code() == SqlState::CANNOT_CONNECT_NOW => {
                let place = Some(Place::of(refusal));
                if known.standing > 0 {
                    known.stopping = place.clone();
                }
                known.stopping == place || known.dismissed.is_some_and(|since| since.elapsed() < DISMISSAL_MAX)
            }
            Some(refusal) if *refusal.code() == SqlState::ADMIN_SHUTDOWN => {
                known.dismissed = Some(Instant::now());
                false
            }
            // The server lets others in, or it is gone.
            _ => {
                (known.dismissed, known.stopping) = (None, None);
                false
            }
        }
    }

    /// Nothing listens at the address: what is refused there later comes from a server that started since.
    pub fn gone(&self) {
        let mut known = self.known();
        (known.dismissed, known.stopping) = (None, None);
    }

    /// The major version of the server as far as it is known, else 0.
    pub fn major(&self) -> u32 {
        self.known().major
    }

    pub fn learn_major(&self, major: u32) {
        self.known().major = major;
    }

    pub fn has_scram(&self) -> bool {
        self.known().has_scram
    }

    pub fn learn_scram(&self) {
        self.known().has_scram = true;
    }

    /// Whether a session of this datname must bring its time limits with it.
    pub fn is_guarded(&self, datname: &str) -> bool {
        self.known().guarded.get(datname).is_some_and(|since| since.elapsed() < GUARDED_FOR)
    }

    pub fn guard(&self, datname: &str) {
        let mut known = self.known();
        if known.guarded.len() >= GUARDED_MAX {
            known.guarded.clear();
        }
        known.guarded.insert(datname.to_owned(), Instant::now());
    }

    /// Which server answers. Presets of another one are not known yet.
    pub fn learn_epoch(&self, epoch: u64) {
        let mut known = self.known();
        if known.epoch.replace(epoch).is_some_and(|before| before != epoch) {
            known.guarded.clear();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datname_is_guarded_for_a_while_and_not_under_another_server() {
        let contact = Contact::default();
        contact.learn_epoch(1);
        contact.guard("app");
        contact.learn_epoch(1);
        assert!(contact.is_guarded("app") && !contact.is_guarded("other"));
        contact.learn_epoch(2);
        assert!(!contact.is_guarded("app"));
        contact.guard("app");
        let long_ago = Instant::now().checked_sub(GUARDED_FOR).expect("the clock goes back that far");
        contact.known().guarded.insert("app".to_owned(), long_ago);
        assert!(!contact.is_guarded("app"));
    }
}
