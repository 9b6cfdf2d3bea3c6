//! Whose turn it is to call: each plugin has turns of its own, so that calls wait behind those of the same plugin and of no other.
//!
//! What a turn stands for is a place in the engine's pool: a plugin never has more instances than turns (see
//! [`Generation`](super::generation::Generation)), so the pool is as large as all shares together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::call_error::CallError;
use crate::plugin::host::lock;
use crate::plugin::load::validate::World;

/// Calls of one alert plugin at the same time: subjects that it judges side by side.
pub const SHARE: usize = 8;
/// Calls of one notifier at the same time. Each waits for another machine, and one that hangs should not delay the others.
const SHARE_NOTIFIER: usize = 4 * SHARE;
/// Whole shares that may be in use before one plugin has to wait for another; a notifier's counts four times.
pub const SHARES: usize = 64;
/// The longest that a call waits for its turn. Later it would judge a snapshot that the next one has replaced.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The turns of all plugins.
pub struct Turns {
    shares: Mutex<HashMap<(String, World), Arc<Semaphore>>>,
    all: Arc<Semaphore>,
}

/// The right to one call; dropped after it.
#[derive(Debug)]
pub struct Turn {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    pub fn new() -> Self {
        Self { shares: Mutex::default(), all: Arc::new(Semaphore::new(SHARE * SHARES)) }
    }

    /// Waits for a turn, first behind the plugin's own calls. A share outlives generations: so do calls that hang.
    pub async fn take(&self, plugin: &str, world: World) -> Result<Turn, CallError> {
        let share = self.share(plugin, world);
        let Ok(Ok(own)) = timeout(WAIT_MAX, share.acquire_owned()).await else {
            return Err(CallError::Busy { waited: WAIT_MAX, behind: "its own calls" });
        };
        let Ok(Ok(of_all)) = timeout(WAIT_MAX, Arc::clone(&self.all).acquire_owned()).await else {
            return Err(CallError::Busy { waited: WAIT_MAX, behind: "the calls of all plugins" });
        };
        Ok(Turn { _own: own, _of_all: of_all })
    }

    fn share(&self, plugin: &str, world: World) -> Arc<Semaphore> {
        let mut shares = lock(&self.shares);
        let key = (plugin.to_owned(), world);
        if let Some(share) = shares.get(&key) {
            return Arc::clone(share);
        }
        // Those that nobody holds or waits for are as good as new ones.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = Arc::new(Semaphore::new(if world == World::Notifier { SHARE_NOTIFIER } else { SHARE }));
        shares.insert(key, Arc::clone(&share));
        share
    }
}
