//! What collectors of one server keep from one run of the agent to the next.
//!
//! Everything here is a help: without the store, or while it does not answer, a collector goes on with what it knows.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::clock::Clock;
use crate::store::{Event, NoteKey, Store, StoreError};
use crate::telemetry::logs::chain;

/// A handle; whoever looks at a server only once has none of the store.
#[derive(Debug, Clone, Default)]
pub struct Notebook {
    place: Option<Place>,
}

#[derive(Debug, Clone)]
struct Place {
    store: Store,
    clock: Clock,
    /// The id of the server's subject.
    server: String,
}

impl Place {
    fn key(&self, collector: &'static str, topic: &str) -> NoteKey {
        NoteKey { server: self.server.clone(), collector, topic: topic.to_owned() }
    }
}

impl Notebook {
    pub fn new(store: Store, clock: Clock, server: String) -> Self {
        Self { place: Some(Place { store, clock, server }) }
    }

    /// What `collector` noted of `topic` last. An error means that nobody knows yet: it should be asked for again.
    pub async fn read<T: DeserializeOwned>(&self, collector: &'static str, topic: &str) -> Result<Option<T>, StoreError> {
        let Some(place) = &self.place else { return Ok(None) };
        let Some(note) = place.store.note(place.key(collector, topic)).await? else { return Ok(None) };
        let read = serde_json::from_str(&note);
        if let Err(err) = &read {
            let server = &place.server;
            warn!(server, collector, topic, error = chain(err), "what `{collector}` had noted cannot be read and is forgotten");
        }
        Ok(read.ok())
    }

    /// Takes the place of what `collector` noted of `topic` before; says whether that was done.
    pub async fn write(&self, collector: &'static str, topic: &str, note: &(impl Serialize + Sync)) -> bool {
        let Some(place) = &self.place else { return true };
        let Ok(note) = serde_json::to_string(note) else { return false };
        let stored = place.store.put_note(place.key(collector, topic), note, place.clock.wall_ms()).await;
        if let Err(err) = &stored {
            warn!(server = place.server, collector, topic, error = chain(err), "a note of `{collector}` could not be stored");
        }
        stored.is_ok()
    }

    /// Something happened on this server.
    pub async fn record(&self, kind: &str, detail: serde_json::Value) {
        let Some(Place { store, clock, server }) = &self.place else { return };
        let event = Event { at_ms: clock.wall_ms(), kind: kind.to_owned(), subject: server.clone(), detail };
        if let Err(err) = store.record(event).await {
            warn!(server, error = chain(&err), "an event could not be stored");
        }
    }
}
