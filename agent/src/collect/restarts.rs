//! Restarts of a server, remembered over restarts of the agent, for collectors of either product.

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::restarts::{RestartHistory, RunReading, ServerRestart};
use pharos_model::snapshot::{Column, PartId};

use super::Notebook;

/// Readings that wait for the store. Where a server restarts more often, the oldest are dropped.
const UNRECALLED_MAX: usize = 40;
/// The topic of the note.
const TOPIC: &str = "restarts";

/// The known restarts of one server.
pub struct Restarts {
    /// The collector that stores the note.
    collector: PartId,
    history: RestartHistory,
    notebook: Notebook,
    /// The first reading of each run of the server and the latest one, until the note of an earlier run of the agent was read.
    unrecalled: Option<Vec<(Cluster, RunReading)>>,
    /// Whether the store has the latest history.
    is_noted: bool,
}

impl Restarts {
    pub fn new(collector: PartId, notebook: Notebook) -> Self {
        Self { collector, history: RestartHistory::default(), notebook, unrecalled: Some(Vec::new()), is_noted: false }
    }

    /// Records a reading and returns the columns of the table `restarts`, with those of the last quarter of an hour. There is no table
    /// before the store returned the note of an earlier run of the agent: until then an open alert neither ends nor begins.
    pub async fn read(&mut self, cluster: &Cluster, reading: RunReading, now: Now) -> Option<Vec<Column>> {
        let read_at = reading.read_at;
        let Some(unrecalled) = &mut self.unrecalled else {
            self.is_noted &= !self.history.observe(cluster, reading);
            return self.known(read_at, now).await;
        };
        // A restart that happens before the store answers is seen by these readings alone.
        if unrecalled.len() >= 2 && unrecalled.iter().rev().take(2).all(|(_, known)| known.is_same_run(&reading)) {
            unrecalled.pop();
        }
        unrecalled.push((cluster.clone(), reading));
        if unrecalled.len() > UNRECALLED_MAX {
            unrecalled.remove(0);
        }
        self.history = self.notebook.read::<RestartHistory>(self.collector, TOPIC, now).await.ok()?.unwrap_or_default();
        for (cluster, reading) in self.unrecalled.take().into_iter().flatten() {
            self.history.observe(&cluster, reading);
        }
        self.known(read_at, now).await
    }

    async fn known(&mut self, read_at: f64, now: Now) -> Option<Vec<Column>> {
        if !self.is_noted {
            self.is_noted = self.notebook.write(self.collector, TOPIC, &self.history, Vec::new(), now).await.is_ok();
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
