//! Restarts of a server, over those of the agent, for collectors of either engine.

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::restarts::{RestartHistory, RunReading, ServerRestart};
use pharos_model::snapshot::Column;

use super::Notebook;

/// The subject of the note.
const TOPIC: &str = "restarts";

/// What is known of the restarts of one server.
pub struct Restarts {
    /// In whose name the note is.
    collector: &'static str,
    history: RestartHistory,
    notebook: Notebook,
    /// Whether it is known what an earlier run of the agent had read.
    is_recalled: bool,
    /// Whether the store has the run of the server that is known.
    is_noted: bool,
}

impl Restarts {
    pub fn new(collector: &'static str, notebook: Notebook) -> Self {
        Self { collector, history: RestartHistory::default(), notebook, is_recalled: false, is_noted: false }
    }

    /// Takes in a reading and returns the columns of the table `restarts`: those of the last quarter of an hour. There is no table while the
    /// store does not answer what an earlier run of the agent had read: then an open alert neither ends nor begins.
    pub async fn read(&mut self, cluster: &Cluster, reading: RunReading, now: Now) -> Option<Vec<Column>> {
        if !self.is_recalled {
            self.history = self.notebook.read::<RestartHistory>(self.collector, TOPIC, now).await.ok()?.unwrap_or_default();
            self.is_recalled = true;
        }
        let read_at = reading.read_at;
        self.is_noted &= !self.history.observe(cluster, reading);
        if !self.is_noted {
            self.is_noted = self.notebook.write(self.collector, TOPIC, &self.history, ("", Vec::new()), now).await.is_ok();
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
