//! Judgements in progress. Plugins and subjects run in parallel; one plugin judges the snapshots of one subject in order.
//!
//! While a plugin judges a subject, the subject's next snapshot waits. A newer one replaces it, because only the latest matters. So a slow
//! plugin delays no other, and no judgement of older facts follows one of newer facts.

use std::collections::HashMap;
use std::sync::Arc;

use pharos_model::snapshot::Change;
use pharos_model::subject::SubjectKey;
use tokio::task::{JoinError, JoinSet};

use crate::board::Picture;
use crate::plugin::{Judgement, PluginHost};

/// Snapshot with a plugin's judgement of it.
pub(super) struct Judged {
    pub change: Arc<Change>,
    pub judgement: Judgement,
}

/// A plugin and the subject that it judges.
pub(super) type Key = (String, SubjectKey);

/// All judgements in progress, and the snapshots that wait for them.
#[derive(Default)]
pub(super) struct Rounds {
    /// Tasks in progress. Each call is a task, because its limit in wall time must not pass while the pipeline is busy.
    under_way: JoinSet<(Key, Option<Judged>)>,
    /// Judgements in progress, each with the snapshot that waits for it.
    waiting: HashMap<Key, Option<Arc<Change>>>,
}

impl Rounds {
    /// Whether no judgement is in progress.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next judgement that ends. `None` while no judgement is in progress.
    pub(super) async fn next(&mut self) -> Option<Result<(Key, Option<Judged>), JoinError>> {
        self.under_way.join_next().await
    }

    /// Starts the judgement of a snapshot by every plugin that watches its subject.
    pub(super) fn judge(&mut self, change: &Arc<Change>, plugins: &PluginHost) {
        for plugin in plugins.judges_of(&change.snapshot.subject.kind) {
            self.judge_by(plugin, Arc::clone(change), plugins);
        }
    }

    /// Starts a plugin's judgement of every latest snapshot.
    pub(super) fn judge_again(&mut self, plugin: &str, picture: &Picture, plugins: &PluginHost) {
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
    pub(super) fn ended(&mut self, ended: Result<(Key, Option<Judged>), JoinError>, plugins: &PluginHost) -> Option<Judged> {
        let (key, judged) = ended.unwrap_or_else(|err| std::panic::resume_unwind(err.into_panic()));
        if let Some(Some(next)) = self.waiting.remove(&key) {
            self.judge_by(key.0, next, plugins);
        }
        judged.filter(|judged| plugins.is_current(&judged.judgement))
    }
}
