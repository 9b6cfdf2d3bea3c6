//! Facts about one server that all sessions of the agent share.
//!
//! A server that shuts down refuses sessions with the code of one that starts. The texts differ, but are in the server's language, so the
//! agent does not read them. A server that starts, or recovers from a crash, has no sessions. So if a session of the agent is open, or was
//! just ended by the server, the server is stopping. A session that stays open would make a smart shutdown wait for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_postgres::error::{DbError, SqlState};

/// Most datnames in the list `guarded`. Beyond this the list is cleared, which costs one refused session for each datname.
const GUARDED_MAX: usize = 1_000;

/// Time for which sessions of a datname are guarded, before one without a guard is tried again: presets can be removed, and another cause
/// may have looked like a preset.
pub(super) const GUARDED_FOR: Duration = Duration::from_hours(1);

/// Time after the end of a session in which a refusal means that the server is stopping. Later the server may be starting again.
const DISMISSAL_MAX: Duration = Duration::from_secs(3);

/// The shared state of one server, cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerState(Arc<Mutex<State>>);

/// The state that all sessions with one server share.
#[derive(Debug, Default)]
struct State {
    /// Number of open sessions.
    open_sessions: usize,
    /// When the server last ended a session by an orderly shutdown, unless another session began since.
    dismissed: Option<Instant>,
    /// The line of the server's source that refused a session while the server was stopping. A server that starts refuses from another.
    stopping: Option<Place>,
    /// Datnames whose presets end a session before it has settings of its own, and when that was found.
    guarded: BTreeMap<String, Instant>,
    /// The epoch of the server that answered last.
    epoch: Option<u64>,
    major: u32,
    /// Whether a session began with SCRAM, in which the server proves that it knows the password.
    has_scram: bool,
}

/// A line of the server's source, as an error names it.
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

/// Counts an open session, until it is dropped together with the session.
#[derive(Debug)]
pub(super) struct OpenSession(ServerState);

impl Drop for OpenSession {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open_sessions = state.open_sessions.saturating_sub(1);
    }
}

impl ServerState {
    /// Records that a session began, so the server is up.
    pub(super) fn session_began(&self) -> OpenSession {
        let mut state = self.state();
        state.open_sessions += 1;
        (state.dismissed, state.stopping) = (None, None);
        OpenSession(self.clone())
    }

    /// Records that an open session was ended from outside.
    pub(super) fn session_ended(&self, error: &tokio_postgres::Error) {
        let mut state = self.state();
        if error.code() == Some(&SqlState::ADMIN_SHUTDOWN) {
            state.dismissed = Some(Instant::now());
        } else if state.dismissed.is_none() {
            // The end may be a crash, and a server that recovers from a crash refuses sessions as well.
            state.stopping = None;
        }
    }

    /// Records that no session began. Returns whether the server is stopping.
    pub(super) fn session_refused(&self, error: &tokio_postgres::Error) -> bool {
        let mut state = self.state();
        match error.as_db_error() {
            Some(refusal) if *refusal.code() == SqlState::CANNOT_CONNECT_NOW => {
                let place = Some(Place::of(refusal));
                if state.open_sessions > 0 {
                    state.stopping = place.clone();
                }
                state.stopping == place || state.dismissed.is_some_and(|since| since.elapsed() < DISMISSAL_MAX)
            }
            Some(refusal) if *refusal.code() == SqlState::ADMIN_SHUTDOWN => {
                state.dismissed = Some(Instant::now());
                false
            }
            // The server may accept other sessions, or it is unreachable.
            _ => {
                (state.dismissed, state.stopping) = (None, None);
                false
            }
        }
    }

    /// Records that nothing listens at the address. A later refusal comes from a server that started since.
    pub(super) fn server_unreachable(&self) {
        let mut state = self.state();
        (state.dismissed, state.stopping) = (None, None);
    }

    /// The major version of the server; 0 before it is known.
    pub(super) fn major(&self) -> u32 {
        self.state().major
    }

    pub(super) fn set_major(&self, major: u32) {
        self.state().major = major;
    }

    pub(super) fn has_scram(&self) -> bool {
        self.state().has_scram
    }

    pub(super) fn set_scram(&self) {
        self.state().has_scram = true;
    }

    /// Whether a session of this datname needs a guard: its time limits are set from its start.
    pub(super) fn is_guarded(&self, datname: &str) -> bool {
        self.state().guarded.get(datname).is_some_and(|since| since.elapsed() < GUARDED_FOR)
    }

    /// Records that sessions of this datname need a guard for the next hour.
    pub(super) fn guard(&self, datname: &str) {
        let mut state = self.state();
        if state.guarded.len() >= GUARDED_MAX {
            state.guarded.clear();
        }
        state.guarded.insert(datname.to_owned(), Instant::now());
    }

    /// Records which server answers. The presets of another server are not known yet.
    pub(super) fn set_epoch(&self, epoch: u64) {
        let mut state = self.state();
        if state.epoch.replace(epoch).is_some_and(|before| before != epoch) {
            state.guarded.clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datname_is_guarded_for_a_while_and_not_under_another_server() {
        let server = ServerState::default();
        server.set_epoch(1);
        server.guard("app");
        server.set_epoch(1);
        assert!(server.is_guarded("app") && !server.is_guarded("other"));
        server.set_epoch(2);
        assert!(!server.is_guarded("app"));
        server.guard("app");
        let long_ago = Instant::now().checked_sub(GUARDED_FOR).expect("the clock goes back that far");
        server.state().guarded.insert("app".to_owned(), long_ago);
        assert!(!server.is_guarded("app"));
    }
}
