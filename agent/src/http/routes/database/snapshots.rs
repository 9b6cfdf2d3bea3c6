//! Selects the snapshots for a request: those of `?database=NAME`, or all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use pharos_model::snapshot::Snapshot;
use serde::de::DeserializeOwned;

use crate::api::indexes::IndexFactsQuery;
use crate::api::list::DatabaseQuery;
use crate::api::slow_queries::SlowQueriesQuery;
use crate::board::Board;
use crate::clock::Clock;
use crate::http::databases::Databases;
use crate::http::error::ApiError;
use crate::http::exchange::Parameters;

/// State of the routes about servers.
#[derive(Clone)]
pub(crate) struct DatabaseState {
    pub board: Arc<Board>,
    pub clock: Clock,
    pub databases: Databases,
    /// Mean execution time from which on a statement counts as slow, by database.
    pub slow_after: Arc<BTreeMap<String, Duration>>,
}

/// A query that can name a database.
pub(super) trait NamesDatabase {
    fn database(&self) -> Option<&str>;
}

impl NamesDatabase for DatabaseQuery {
    fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }
}

impl NamesDatabase for SlowQueriesQuery {
    fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }
}

impl NamesDatabase for IndexFactsQuery {
    fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }
}

/// A query and the latest snapshots of the servers that it selects. Parts that are too old are marked as stale.
pub(super) struct Selection<Q> {
    pub query: Q,
    pub snapshots: Vec<Snapshot>,
}

impl<Q: NamesDatabase + DeserializeOwned> FromRequestParts<DatabaseState> for Selection<Q> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &DatabaseState) -> Result<Self, ApiError> {
        let Parameters(query) = Parameters::<Q>::from_request_parts(parts, state).await?;
        let database = state.databases.known(query.database())?;
        let now = state.clock.monotonic();
        let picture = state.board.picture();
        let servers = picture.servers().map(|(_, change)| &change.snapshot);
        let is_selected = |snapshot: &&Snapshot| database.is_none_or(|name| snapshot.subject.label("database") == Some(name));
        let fresh = |mut snapshot: Snapshot| {
            snapshot.expire(now);
            snapshot
        };
        let snapshots = servers.filter(is_selected).cloned().map(fresh).collect();
        Ok(Self { query, snapshots })
    }
}

/// Says when a part whose latest reading failed was last read.
pub(super) fn last_read(age: Duration) -> String {
    format!("last read {} s ago", age.as_secs())
}

/// A label of the server. Empty if the server has no label of that name.
pub(super) fn label(snapshot: &Snapshot, name: &str) -> String {
    snapshot.subject.label(name).unwrap_or_default().to_owned()
}
