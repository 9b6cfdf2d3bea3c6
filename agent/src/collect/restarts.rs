//! Restarts of a server, over those of the agent, for collectors of either engine.

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::restarts::{RestartHistory, RunReading, ServerRestart};
use pharos_model::snapshot::{Column, PartId};

use super::Notebook;

/// Readings that wait for the store. The oldest go where a server restarts more often.
const UNRECALLED_MAX: usize = 40;
/// The subject of the note.
const TOPIC: &str = "restarts";

/// What is known of the restarts of one server.
pub struct Restarts {
    /// In whose name the note is.
    collector: PartId,
    history: RestartHistory,
    notebook: Notebook,
    /// The first reading of each run of the server and the latest one, as long as it is not known what an earlier run of the agent had read.
    unrecalled: Option<Vec<(Cluster, RunReading)>>,
    /// Whether the store has the run of the server that is known.
    is_noted: bool,
}

impl Restarts {
    pub fn new(collector: PartId, notebook: Notebook) -> Self {
        Self { collector, history: RestartHistory::default(), notebook, unrecalled: Some(Vec::new()), is_noted: false }
    }

    /// Takes in a reading and returns the columns of the table `restarts`: those of the last quarter of an hour. There is no table while the
    /// store does not answer what an earlier run of the agent had read: then an open alert neither ends nor begins.
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
