//! The limit of sessions with one server, and the state that all of them share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::accepting_datnames::AcceptingDatnames;
use super::server_state::ServerState;

/// Most sessions that the agent may have with one server. Sessions that hang and were given up count as well.
pub(super) const SESSIONS_MAX: usize = 2;
/// Longest wait for a place: a session that just ended may still occupy one.
const PLACE_MAX: Duration = Duration::from_millis(200);
/// Pause before another attempt to a datname where an attempt hangs. Only that connection may be broken, so it is tried again.
const RETRY_PAUSE: Duration = Duration::from_mins(1);

/// The places for sessions with one server, shared by all of its connectors.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    hanging: Arc<Mutex<Hanging>>,
    pub(super) server_state: ServerState,
    accepting: Arc<Mutex<AcceptingDatnames>>,
}

/// The latest attempt in each datname that its caller gave up, and when. The attempt itself may have ended.
type Hanging = HashMap<String, (Weak<Attempt>, Instant)>;

/// An attempt to open a session. It is dropped when the attempt ends.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    has_socket: AtomicBool,
}

impl Attempt {
    /// Records that the server was reached. Before that the attempt has no backend that could hang.
    pub(super) fn reached_server(&self) {
        self.has_socket.store(true, Ordering::Relaxed);
    }

    fn has_reached_server(&self) -> bool {
        self.has_socket.load(Ordering::Relaxed)
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(SESSIONS_MAX)),
            hanging: Arc::default(),
            server_state: ServerState::default(),
            accepting: Arc::default(),
        }
    }
}

impl Places {
    /// Waits a moment for a free place. There is none if the sessions in all places hang.
    pub(super) async fn acquire(&self) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(PLACE_MAX, Arc::clone(&self.free).acquire_owned()).await.ok()?.ok()
    }

    /// Whether an attempt to this datname hangs, and the pause after it is not over.
    pub(super) fn has_hanging_attempt(&self, datname: &str) -> bool {
        self.hanging().get(datname).is_some_and(|(attempt, since)| attempt.strong_count() > 0 && since.elapsed() < RETRY_PAUSE)
    }

    /// Records an attempt that its caller gave up, if it reached the server and still goes on.
    pub(super) fn leave_hanging(&self, datname: &str, attempt: Weak<Attempt>) {
        if !attempt.upgrade().is_some_and(|attempt| attempt.has_reached_server()) {
            return;
        }
        let mut hanging = self.hanging();
        hanging.retain(|_, (attempt, _)| attempt.strong_count() > 0);
        hanging.insert(datname.to_owned(), (attempt, Instant::now()));
    }

    /// Reads or changes the list of datnames that accept sessions.
    pub(super) fn accepting<T>(&self, access: impl FnOnce(&mut AcceptingDatnames) -> T) -> T {
        access(&mut self.accepting.lock())
    }

    fn hanging(&self) -> MutexGuard<'_, Hanging> {
        self.hanging.lock()
    }
}
