//! Judgements in progress. Plugins and subjects run in parallel; one plugin judges the snapshots of one subject in order.
//!
//! While a plugin judges a subject, the subject's next snapshot waits. A newer one replaces it, because only the latest matters. So a slow
//! plugin delays no other, and no judgement of older facts follows one of newer facts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::snapshot::Change;
use pharos_model::snapshot::Snapshot;
use pharos_model::subject::SubjectKey;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::{Judged, Order, Pipeline};
use crate::board::Picture;
use crate::plugin::{PluginEvent, PluginHost};

/// Longest time between two checks of the wall clock. Silences end on that clock, which people may set.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// A plugin and the subject that it judges.
type Key = (String, SubjectKey);

/// All judgements in progress, and the snapshots that wait for them.
#[derive(Default)]
pub struct Rounds {
    /// Tasks in progress. A call has a limit in wall time, which must not pass while the pipeline is busy, so each call is a task.
    under_way: JoinSet<(Key, Option<Judged>)>,
    /// Judgements in progress, each with the snapshot that waits for it.
    waiting: HashMap<Key, Option<Arc<Change>>>,
}

impl Rounds {
    /// Starts the judgement of a snapshot by every plugin that watches its subject.
    pub fn judge(&mut self, change: &Arc<Change>, plugins: &PluginHost) {
        for plugin in plugins.watching(change) {
            self.judge_by(plugin, Arc::clone(change), plugins);
        }
    }

    /// Starts a plugin's judgement of every latest snapshot.
    pub fn judge_again(&mut self, plugin: &str, picture: &Picture, plugins: &PluginHost) {
        for change in picture.subjects.values() {
            self.judge_by(plugin.to_owned(), Arc::clone(change), plugins);
        }
    }

    fn judge_by(&mut self, plugin: String, change: Arc<Change>, plugins: &PluginHost) {
        let key = (plugin, change.snapshot.subject.key());
        if let Some(waiting) = self.waiting.get_mut(&key) {
            *waiting = Some(change);
            return;
        }
        self.waiting.insert(key.clone(), None);
        let plugins = plugins.clone();
        self.under_way.spawn(async move {
            let judgement = plugins.judge_by(&key.0, &change).await;
            (key, judgement.map(|judgement| Judged { change, judgement }))
        });
    }

    /// Handles the end of a judgement and returns it. `None` if no plugin watches the subject any more, or if the judging version does not
    /// serve any more: its successor judges again.
    fn ended(&mut self, ended: Result<(Key, Option<Judged>), JoinError>, plugins: &PluginHost) -> Option<Judged> {
        let (key, judged) = ended.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()));
        if let Some(Some(next)) = self.waiting.remove(&key) {
            self.judge_by(key.0, next, plugins);
        }
        judged.filter(|judged| plugins.is_current(&judged.judgement))
    }
}

impl Pipeline {
    /// Runs until all servers have stopped sending and everything is decided.
    pub async fn run(
        mut self,
        mut snapshots: mpsc::Receiver<Snapshot>,
        mut events: mpsc::Receiver<PluginEvent>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let mut rounds = Rounds::default();
        let mut open = true;
        while open || !rounds.under_way.is_empty() || !events.is_empty() {
            let now = self.clock.now();
            // Groups that have waited long enough, and silences that end.
            let due = self.dispatcher.next_due(now).map(|due| due.saturating_sub(now.monotonic).min(LOOK_MAX));
            tokio::select! {
                snapshot = snapshots.recv(), if open => match snapshot {
                    Some(snapshot) => self.observe(snapshot, &mut rounds),
                    None => open = false,
                },
                Some(ended) = rounds.under_way.join_next() => {
                    if let Some(judged) = rounds.ended(ended, &self.plugins) {
                        self.decide(judged).await;
                    }
                }
                Some(event) = events.recv() => self.on_plugin_event(event, &mut rounds).await,
                Some(order) = orders.recv() => self.on_order(order).await,
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.settle(Vec::new()).await,
            }
        }
        self.unmatched.keep(&self.store).await;
    }
}
