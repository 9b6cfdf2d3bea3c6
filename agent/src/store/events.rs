//! Events as other parts use them. The statements on their table are in `event_table`.

use pharos_model::event::Event;

use super::error::StoreError;
use super::event_table::{self, StoredEvent};
use super::handle::Store;

impl Store {
    /// Appends an event and removes the oldest beyond the bound. Events of alerts are written by [`save_alerts`](Self::save_alerts), with
    /// the change that they belong to.
    pub async fn record_event(&self, event: Event) -> Result<(), StoreError> {
        self.write_optional(move |connection| event_table::append(connection, std::slice::from_ref(&event))).await
    }

    /// The newest events, newest first.
    pub async fn events(&self, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read(move |connection| event_table::newest(connection, limit)).await
    }

    /// The events of an alert, newest first: its transitions, and the receivers that were not notified.
    pub async fn alert_history(&self, fingerprint: String, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.read_essential_for_caller(move |connection| event_table::alert_history(connection, &fingerprint, limit)).await
    }

    /// One page of an alert's history, newest first. With `before`, the page holds only older events than the one with that id.
    pub async fn alert_history_page(&self, fingerprint: String, before: Option<u64>, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        self.read_essential_for_caller(move |connection| event_table::alert_history_page(connection, &fingerprint, before, limit)).await
    }

    /// Fingerprints that begin with `begins`, of alerts whose history is stored. Returns `limit` of them at most.
    pub async fn fingerprints(&self, begins: String, limit: u32) -> Result<Vec<String>, StoreError> {
        self.read_essential_for_caller(move |connection| event_table::fingerprints(connection, &begins, limit)).await
    }
}
