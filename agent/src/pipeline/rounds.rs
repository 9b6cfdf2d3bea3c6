//! Judgements under way: plugins and subjects side by side, what one plugin judges of one subject in turn.
//!
//! While a plugin judges a subject, the subject's next snapshot waits for it; a newer one takes its place, because only the latest
//! matters. So a slow plugin delays nobody else, and no plugin's older facts are decided after newer ones.

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

/// Silences end by the clock on the wall, which people may set: it is looked at so often.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// A plugin and what it judges.
type Key = (String, SubjectKey);

#[derive(Default)]
pub struct Rounds {
    /// Tasks of their own: a call has its time on the wall, which must not pass while the pipeline decides something else.
    under_way: JoinSet<(Key, Option<Judged>)>,
    /// Judgements under way, each with the snapshot that waits behind it.
    waiting: HashMap<Key, Option<Arc<Change>>>,
}

impl Rounds {
    /// Has every plugin that watches the subject judge it.
    pub fn judge(&mut self, change: &Arc<Change>, plugins: &PluginHost) {
        for plugin in plugins.watching(change) {
            self.judge_by(plugin, Arc::clone(change), plugins);
        }
    }

    /// Has one plugin judge every last snapshot.
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

    /// A judgement ended. None if nobody watches the subject any more, or if a version gave it that no longer serves: the one that does
    /// was told to judge again.
    fn ended(&mut self, ended: Result<(Key, Option<Judged>), JoinError>, plugins: &PluginHost) -> Option<Judged> {
        let (key, judged) = ended.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()));
        if let Some(Some(next)) = self.waiting.remove(&key) {
            self.judge_by(key.0, next, plugins);
        }
        judged.filter(|judged| plugins.is_current(&judged.judgement))
    }
}

impl Pipeline {
    /// Runs until all servers stopped sending and everything they sent is decided.
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
            // Groups that waited long enough, silences that end.
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
