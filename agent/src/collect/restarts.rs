//! Restarts of a server, stored across restarts of the agent. The collectors of PostgreSQL and Redis share them.

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::restarts::{RestartHistory, RunReading, ServerRestart};
use pharos_model::snapshot::{Column, PartId};

use super::{NoteName, Notebook};

/// Most readings that wait for the store. If a server restarts more often, the oldest readings are dropped.
const PENDING_MAX: usize = 40;

/// The known restarts of one server.
pub(super) struct Restarts {
    note: NoteName<'static>,
    history: RestartHistory,
    notebook: Notebook,
    /// The first reading of each run of the server, and the latest one. They wait until the note of an earlier run of the agent is read.
    pending: Option<Vec<(Cluster, RunReading)>>,
    /// Whether the store has the latest history.
    is_stored: bool,
}

impl Restarts {
    /// `collector` is the one that stores the note.
    pub(super) fn new(collector: PartId, notebook: Notebook) -> Self {
        let note = NoteName { collector, topic: "restarts" };
        Self { note, history: RestartHistory::default(), notebook, pending: Some(Vec::new()), is_stored: false }
    }

    /// Records a reading and returns the columns of the table `restarts`. There is no table before the store returned the note of an
    /// earlier run of the agent: until then an open alert neither ends nor begins.
    pub(super) async fn read(&mut self, cluster: &Cluster, reading: RunReading, now: Now) -> Option<Vec<Column>> {
        let read_at = reading.read_at;
        let Some(pending) = &mut self.pending else {
            self.is_stored &= !self.history.observe(cluster, reading);
            return self.store_and_list(read_at, now).await;
        };
        // Only these readings show a restart that happens before the store answers.
        if pending.len() >= 2 && pending.iter().rev().take(2).all(|(_, earlier)| earlier.is_same_run(&reading)) {
            pending.pop();
        }
        pending.push((cluster.clone(), reading));
        if pending.len() > PENDING_MAX {
            pending.remove(0);
        }
        self.history = self.notebook.read::<RestartHistory>(self.note, now).await.ok()?.unwrap_or_default();
        for (cluster, reading) in self.pending.take().into_iter().flatten() {
            self.history.observe(&cluster, reading);
        }
        self.store_and_list(read_at, now).await
    }

    /// Stores the history if it changed, and lists its restarts.
    async fn store_and_list(&mut self, read_at: f64, now: Now) -> Option<Vec<Column>> {
        if !self.is_stored {
            self.is_stored = self.notebook.write(self.note, &self.history, Vec::new(), now).await.is_ok();
        }
        Some(columns(self.history.restarts(), read_at))
    }
}

fn columns(restarts: &[ServerRestart], read_at: f64) -> Vec<Column> {
    vec![
        Column::text("kind", restarts.iter().map(|restart| Some(restart.kind.as_str()))),
        Column::float("at", "seconds", restarts.iter().map(|restart| Some(restart.at))),
        Column::float("seconds_ago", "seconds", restarts.iter().map(|restart| Some((read_at - restart.at).max(0.0)))),
    ]
}
