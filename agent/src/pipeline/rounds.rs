//! Judgements under way: subjects side by side, snapshots of one subject in turn.
//!
//! While a subject is judged, its next snapshot waits; a newer one takes its place, because only the latest matters.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use pharos_model::delta::Change;
use pharos_model::snapshot::Snapshot;
use pharos_model::subject::SubjectKey;
use tokio::sync::mpsc;

use super::{Judged, Pipeline};
use crate::board::{Board, Picture};
use crate::plugin::{PluginEvent, PluginHost};

#[derive(Default)]
pub struct Rounds {
    under_way: FuturesUnordered<BoxFuture<'static, Judged>>,
    /// Subjects that are being judged, each with what waits behind it.
    waiting: HashMap<SubjectKey, Option<Arc<Change>>>,
}

impl Rounds {
    pub fn judge(&mut self, change: Arc<Change>, plugins: &PluginHost) {
        if let Some(waiting) = self.waiting.get_mut(&change.snapshot.subject.key()) {
            *waiting = Some(change);
            return;
        }
        self.start(change, plugins);
    }

    fn start(&mut self, change: Arc<Change>, plugins: &PluginHost) {
        self.waiting.insert(change.snapshot.subject.key(), None);
        let plugins = plugins.clone();
        let round = async move {
            let judgements = plugins.judge(&change).await;
            Judged { change, judgements, again: None }
        };
        self.under_way.push(round.boxed());
    }

    /// Has one plugin judge every last snapshot.
    pub fn judge_again(&mut self, plugin: &str, picture: &Picture, plugins: &PluginHost) {
        for change in picture.subjects.values() {
            self.again(plugin.to_owned(), Arc::clone(change), plugins);
        }
    }

    fn again(&mut self, plugin: String, change: Arc<Change>, plugins: &PluginHost) {
        let plugins = plugins.clone();
        let round = async move {
            let judgements = plugins.judge_by(&plugin, &change).await.into_iter().collect();
            Judged { change, judgements, again: Some(plugin) }
        };
        self.under_way.push(round.boxed());
    }

    /// A round ended. None if it was overtaken: then it is repeated on what is known now, since older facts must not be decided later.
    fn ended(&mut self, judged: Judged, board: &Board, plugins: &PluginHost) -> Option<Judged> {
        let subject = judged.change.snapshot.subject.key();
        let Some(plugin) = &judged.again else {
            if let Some(Some(next)) = self.waiting.remove(&subject) {
                self.start(next, plugins);
            }
            return Some(judged);
        };
        match board.picture().subjects.get(&subject) {
            Some(latest) if !Arc::ptr_eq(latest, &judged.change) => {
                self.again(plugin.clone(), Arc::clone(latest), plugins);
                None
            }
            _ => Some(judged),
        }
    }
}

impl Pipeline {
    /// Runs until all servers stopped sending and everything they sent is decided.
    pub async fn run(mut self, mut snapshots: mpsc::Receiver<Snapshot>, mut events: mpsc::Receiver<PluginEvent>) {
        let mut rounds = Rounds::default();
        let mut open = true;
        while open || !rounds.under_way.is_empty() {
            tokio::select! {
                snapshot = snapshots.recv(), if open => match snapshot {
                    Some(snapshot) => self.observe(snapshot, &mut rounds),
                    None => open = false,
                },
                Some(judged) = rounds.under_way.next() => {
                    if let Some(judged) = rounds.ended(judged, &self.board, &self.plugins) {
                        self.decide(judged).await;
                    }
                }
                Some(event) = events.recv() => self.on_plugin_event(event, &mut rounds).await,
            }
        }
    }
}
