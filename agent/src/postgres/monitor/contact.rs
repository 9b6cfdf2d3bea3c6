//! Facts that the agent's sessions with one server learn from each other.
//!
//! A server that shuts down refuses sessions with the code of one that starts. The texts differ, but are in the server's language, so the
//! agent does not read them. A server that starts, or recovers from a crash, has no sessions. Where a session of the agent stands, or was
//! just dismissed, the server therefore stops. A session that stayed would keep a smart shutdown waiting for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_postgres::error::{DbError, SqlState};

/// Datnames that are remembered. Beyond this the list begins anew, and costs one refused session for each datname.
const GUARDED_MAX: usize = 1_000;

/// How long sessions of a datname bring their time limits along before a session without them is tried again. Presets end, and another
/// cause may have looked like a preset.
pub(super) const GUARDED_FOR: Duration = Duration::from_hours(1);

/// How long after the end of a session a refusal means that the server stops. After that time the server may be starting again.
const DISMISSAL_MAX: Duration = Duration::from_secs(3);

/// The contact with one server, shared by all of its sessions.
#[derive(Debug, Clone, Default)]
pub(super) struct Contact(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Sessions that are open.
    standing: usize,
    /// When the server ended one of the sessions in good order, unless another one began since.
    dismissed: Option<Instant>,
    /// The place in the server's source that refused while the server was stopping. A server that starts again refuses from another place.
    stopping: Option<Place>,
    /// Datnames where presets end a session before it has settings of its own, and since when that is known.
    guarded: BTreeMap<String, Instant>,
    /// The epoch of the server that answered last.
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

/// A mark of an open session; it is dropped with the session.
#[derive(Debug)]
pub(super) struct Standing(Contact);

impl Drop for Standing {
    fn drop(&mut self) {
        let mut known = self.0.known();
        known.standing = known.standing.saturating_sub(1);
    }
}

impl Contact {
    /// Records that a session began: the server is up, whatever was known before.
    pub fn began(&self) -> Standing {
        let mut known = self.known();
        known.standing += 1;
        (known.dismissed, known.stopping) = (None, None);
        Standing(self.clone())
    }

    /// Records that an open session was ended from outside.
    pub fn ended(&self, error: &tokio_postgres::Error) {
        let mut known = self.known();
        if error.code() == Some(&SqlState::ADMIN_SHUTDOWN) {
            known.dismissed = Some(Instant::now());
        } else if known.dismissed.is_none() {
            // A session sees no more of a crash, and a server that recovers from a crash refuses as well.
            known.stopping = None;
        }
    }

    /// Records that no session began. Returns whether the server is stopping.
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

    /// Records that nothing listens at the address. A later refusal comes from a server that started since.
    pub fn gone(&self) {
        let mut known = self.known();
        (known.dismissed, known.stopping) = (None, None);
    }

    /// The major version of the server; 0 before it is known.
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

    /// Records which server answers. The presets of another server are not known yet.
    pub fn learn_epoch(&self, epoch: u64) {
        let mut known = self.known();
        if known.epoch.replace(epoch).is_some_and(|before| before != epoch) {
            known.guarded.clear();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock()
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
