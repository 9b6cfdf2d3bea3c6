//! The task that takes snapshots of the agent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::catalogue::metrics::AGENT_PART;
use pharos_model::snapshot::{Part, Reading, Snapshot};
use pharos_model::subject::{Label, Subject, SubjectKind};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::families::families;
use super::plugin_facts::PluginFacts;
use super::tables;
use crate::board::Board;
use crate::clock::Clock;
use crate::collect::send::send;
use crate::store;
use crate::telemetry::metrics::SelfMetrics;

/// Time after its interval at which a snapshot becomes stale.
const GRACE: Duration = Duration::from_secs(5);
/// Longest time that a check for a file in the data directory may take.
const FILE_CHECK_MAX: Duration = Duration::from_secs(1);

/// The task that turns ticks into snapshots of the agent.
pub(crate) struct AgentTask {
    pub name: String,
    pub interval: Duration,
    pub data_dir: PathBuf,
    pub plugins: Box<dyn PluginFacts>,
    pub board: Arc<Board>,
    pub metrics: Arc<SelfMetrics>,
    pub clock: Clock,
    pub snapshots: mpsc::Sender<Snapshot>,
}

/// Returns the subject of the agent with this name.
pub(crate) fn subject(name: &str) -> Subject {
    Subject {
        kind: SubjectKind::Agent,
        id: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: vec![Label::new("agent", name)],
    }
}

impl AgentTask {
    /// Makes snapshots until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut before = self.clock.now();
        loop {
            tokio::select! { () = stop.cancelled() => return, _ = ticks.tick() => {} }
            let now = self.clock.now();
            self.metrics.set("pharos_clock_step_seconds", &[], now.stepped_since(before));
            before = now;
            let snapshot = self.snapshot().await;
            send(&self.snapshots, snapshot, &self.metrics);
        }
    }

    async fn snapshot(&self) -> Snapshot {
        let damaged = self.damaged_stores().await;
        self.metrics.set("pharos_store_damaged_files", &[], damaged.len() as f64);
        self.metrics.set("pharos_ticker_age_seconds", &[], self.plugins.ticker_age().as_secs_f64());
        let Now { monotonic, wall_ms } = self.clock.now();
        let families = families(&self.board, &self.metrics, monotonic);
        let parts = self.board.parts();
        let tables = vec![
            tables::parts(&parts),
            tables::receivers(&self.board),
            tables::plugins(&self.plugins.plugins()),
            tables::damaged_stores(&damaged),
            tables::failing_collectors(&self.board),
            tables::hidden_facts(&self.board),
        ];
        let fresh_until = monotonic + self.interval * 2 + GRACE;
        let reading = Reading { at: monotonic, fresh_until, families, tables, ..Reading::default() };
        Snapshot {
            subject: subject(&self.name),
            taken_at_ms: wall_ms,
            taken_at: monotonic,
            interval: self.interval,
            parts: BTreeMap::from([(AGENT_PART.to_owned(), Part::present(Arc::new(reading)))]),
            members: Vec::new(),
        }
    }

    /// Lists damaged stores that were set aside and are not removed yet. If the directory does not answer, the list is empty.
    async fn damaged_stores(&self) -> Vec<PathBuf> {
        let mut there = Vec::new();
        for path in store::places_aside(&self.data_dir) {
            if let Ok(Ok(true)) = timeout(FILE_CHECK_MAX, tokio::fs::try_exists(&path)).await {
                there.push(path);
            }
        }
        there
    }
}
