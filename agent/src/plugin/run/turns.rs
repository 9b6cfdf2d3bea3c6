//! Turns: each plugin has a share of calls at the same time, so that a call waits behind those of its own plugin alone.
//!
//! A turn stands for a place in the engine's pool. A plugin never has more instances than turns (see
//! [`Generation`](super::generation::Generation)), so the pool is as large as all shares together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::call_error::CallError;

/// Calls of one plugin at the same time, where its world has no reason for more.
pub(crate) const SHARE: usize = 8;
/// Shares that may be in use before one plugin has to wait for another. Each turn takes address space.
pub(crate) const SHARES: usize = 64;
/// Longest wait for a turn. A later call would judge a snapshot that the next one has replaced.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The turns of all plugins.
pub(crate) struct Turns {
    shares: Mutex<HashMap<(String, usize), Arc<Semaphore>>>,
    all: Arc<Semaphore>,
}

/// The right to one call; dropped after it.
#[derive(Debug)]
pub(crate) struct Turn {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self { shares: Mutex::default(), all: Arc::new(Semaphore::new(SHARE * SHARES)) }
    }

    /// Waits for a turn, first behind the plugin's own calls, of which `calls_max` run at the same time. A share outlives generations, as
    /// calls that hang do.
    pub(crate) async fn acquire(&self, plugin: &str, calls_max: usize) -> Result<Turn, CallError> {
        let share = self.share(plugin, calls_max);
        let Ok(Ok(own)) = timeout(WAIT_MAX, share.acquire_owned()).await else {
            return Err(CallError::Busy { waited: WAIT_MAX, behind: "its own calls" });
        };
        let Ok(Ok(of_all)) = timeout(WAIT_MAX, Arc::clone(&self.all).acquire_owned()).await else {
            return Err(CallError::Busy { waited: WAIT_MAX, behind: "the calls of all plugins" });
        };
        Ok(Turn { _own: own, _of_all: of_all })
    }

    fn share(&self, plugin: &str, calls_max: usize) -> Arc<Semaphore> {
        let mut shares = self.shares.lock();
        let key = (plugin.to_owned(), calls_max);
        if let Some(share) = shares.get(&key) {
            return Arc::clone(share);
        }
        // Shares that no call holds or waits for are as good as new ones.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = Arc::new(Semaphore::new(calls_max));
        shares.insert(key, Arc::clone(&share));
        share
    }
}
