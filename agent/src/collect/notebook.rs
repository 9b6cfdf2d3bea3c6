//! The notes that collectors of one server store from one run of the agent to the next.
//!
//! Collectors also work without notes. While the store does not answer, a collector waits for it at most one second in twenty. Facts that
//! only a note has are unknown until the store answers: an open alert about them stands still.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use pharos_model::alert::Now;
use pharos_model::error_chain::chain;
use pharos_model::event::{Event, EventDetail};
use pharos_model::snapshot::PartId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::store::{NoteKey, Store, StoreError};

/// How long a collector waits for the store.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Pause before a store that failed is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(20);

/// A handle to the notes of one server. Commands that read a server once have no store, so they read and write no notes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notebook {
    place: Option<Place>,
}

/// The notes of one server in the store.
#[derive(Debug, Clone)]
struct Place {
    store: Store,
    /// The id of the server's subject.
    server: String,
    /// End of the pause after a failure, by the monotonic clock.
    paused_until: Arc<Mutex<Duration>>,
}

/// The name of a note of one server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoteName<'a> {
    /// The collector that writes the note.
    pub collector: PartId,
    /// Tells several notes of one collector apart. It is empty if the collector has only one.
    pub topic: &'a str,
}

/// The store did not answer, or is not asked during the pause after a failure. The note is still unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoAnswer;

impl Notebook {
    pub(crate) fn new(store: Store, server: String) -> Self {
        Self { place: Some(Place { store, server, paused_until: Arc::default() }) }
    }

    /// Makes a notebook that does not ask the store until `until`, as after a failure.
    #[cfg(test)]
    pub(crate) fn paused(store: Store, server: &str, until: Now) -> Self {
        Self { place: Some(Place { store, server: server.to_owned(), paused_until: Arc::new(Mutex::new(until.monotonic)) }) }
    }

    /// The id of the server's subject.
    pub(crate) fn server(&self) -> Option<&str> {
        self.place.as_ref().map(|place| place.server.as_str())
    }

    /// Reads the latest note of this name.
    pub(crate) async fn read<T: DeserializeOwned>(&self, name: NoteName<'_>, now: Now) -> Result<Option<T>, NoAnswer> {
        let Some(place) = &self.place else { return Ok(None) };
        let Some(note) = place.ask(place.store.note(place.key(name)), now).await? else { return Ok(None) };
        let read = serde_json::from_str(&note);
        if let Err(err) = &read {
            let (server, NoteName { collector, topic }) = (&place.server, name);
            warn!(
                server,
                collector = collector.as_str(),
                topic,
                error = chain(err),
                "the note of `{collector}` cannot be read and is ignored"
            );
        }
        Ok(read.ok())
    }

    /// Replaces the note of this name, and records `happened` as events in the same transaction.
    pub(crate) async fn write(
        &self,
        name: NoteName<'_>,
        note: &(impl Serialize + Sync),
        happened: Vec<EventDetail>,
        now: Now,
    ) -> Result<(), NoAnswer> {
        let Some(place) = &self.place else { return Ok(()) };
        let note = serde_json::to_string(note).map_err(|_| NoAnswer)?;
        let event = |detail| Event { at_ms: now.wall_ms, subject: place.server.clone(), detail };
        let happened = happened.into_iter().map(event).collect();
        place.ask(place.store.put_note(place.key(name), note, happened, now.wall_ms), now).await
    }
}

impl Place {
    fn key(&self, NoteName { collector, topic }: NoteName<'_>) -> NoteKey {
        NoteKey { server: self.server.clone(), collector: collector.as_str(), topic: topic.to_owned() }
    }

    async fn ask<T>(&self, answer: impl Future<Output = Result<T, StoreError>>, now: Now) -> Result<T, NoAnswer> {
        if now.monotonic < *self.paused_until() {
            return Err(NoAnswer);
        }
        let answer = tokio::time::timeout(ANSWER_MAX, answer).await.unwrap_or(Err(StoreError::DeadlineExceeded));
        answer.map_err(|err| {
            *self.paused_until() = now.monotonic + RETRY_PAUSE;
            warn!(server = self.server, error = chain(&err), "the notes of collectors are not stored for {RETRY_PAUSE:?}");
            NoAnswer
        })
    }

    fn paused_until(&self) -> MutexGuard<'_, Duration> {
        self.paused_until.lock()
    }
}
