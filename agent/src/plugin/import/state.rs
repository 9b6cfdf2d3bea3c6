//! The `state` import: a small key-value store per plugin that outlives instances, generations and the process.

use pharos_model::error_chain::chain;

use crate::clock::Clock;
use crate::plugin::contract::bindings::alert_rule::pharos::plugin::state::StateError;
use crate::store::{Entry, Expected, PluginStateLimits, Store, StoreError, Written};

/// Limits of the state of one plugin. Without them a plugin could fill the disk.
const LIMITS: PluginStateLimits = PluginStateLimits { keys: 1_000, bytes: 1 << 20 };

/// A plugin's access to its state. Without a store, as in `plugin test`, every call is refused.
#[derive(Debug, Clone)]
pub struct StateAccess {
    pub store: Option<Store>,
    pub clock: Clock,
}

impl StateAccess {
    pub async fn get(&self, plugin: &str, key: String) -> Result<Option<Vec<u8>>, StateError> {
        self.store()?.plugin_state(plugin, key, self.clock.wall_ms()).await.map_err(|err| unavailable(&err))
    }

    pub async fn put(&self, plugin: &str, key: String, value: Vec<u8>, ttl_seconds: Option<u32>) -> Result<(), StateError> {
        let now_ms = self.clock.wall_ms();
        let expires_at_ms = ttl_seconds.map(|seconds| now_ms + u64::from(seconds) * 1_000);
        self.write(plugin, Entry { key, expected: Expected::Anything, value, expires_at_ms, now_ms }).await.map(drop)
    }

    pub async fn compare_and_swap(&self, plugin: &str, key: String, expected: Option<Vec<u8>>, value: Vec<u8>) -> Result<bool, StateError> {
        let expected = expected.map_or(Expected::Nothing, Expected::Value);
        self.write(plugin, Entry { key, expected, value, expires_at_ms: None, now_ms: self.clock.wall_ms() }).await
    }

    pub async fn delete(&self, plugin: &str, key: String) -> Result<(), StateError> {
        self.store()?.delete_plugin_state(plugin, key).await.map_err(|err| unavailable(&err))
    }

    /// Returns whether the key had the expected value, so that the entry was written.
    async fn write(&self, plugin: &str, entry: Entry) -> Result<bool, StateError> {
        match self.store()?.put_plugin_state(plugin, entry, LIMITS).await {
            Ok(Written::Done) => Ok(true),
            Ok(Written::Differs) => Ok(false),
            Ok(Written::QuotaExceeded(bytes)) => Err(StateError::QuotaExceeded(bytes)),
            Err(err) => Err(unavailable(&err)),
        }
    }

    fn store(&self) -> Result<&Store, StateError> {
        self.store.as_ref().ok_or_else(|| StateError::Unavailable("there is no store here".to_owned()))
    }
}

fn unavailable(err: &StoreError) -> StateError {
    StateError::Unavailable(chain(err))
}
