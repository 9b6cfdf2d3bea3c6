//! The sources of snapshots: every server, every database as a whole, and the agent itself.

use std::sync::Arc;

use pharos_model::agent_part::AgentPart;
use pharos_model::snapshot::Snapshot;
use tokio::sync::mpsc;

use super::ground::Ground;
use super::servers::Servers;
use crate::board::{Board, PartHealth};
use crate::collect::agent::AgentTask;
use crate::collect::database::DatabasesTask;
use crate::lifecycle::Lifecycle;
use crate::plugin::PluginHost;

/// Starts one task per source. The flow ends once all of them have ended.
pub(super) fn start(ground: &Ground, mut servers: Servers, plugins: &PluginHost, snapshots: mpsc::Sender<Snapshot>) {
    let Ground { config, clock, board, metrics, store, lifecycle } = ground;
    let databases = DatabasesTask {
        databases: servers.take_databases(),
        interval: config.collect.interval.of("topology"),
        grace: config.collect.deadline_max() + config.collect.connect_timeout,
        board: Arc::clone(board),
        store: store.clone(),
        metrics: Arc::clone(metrics),
        clock: *clock,
        snapshots: snapshots.clone(),
    };
    lifecycle.supervise(AgentPart::Databases, databases.run(lifecycle.soft().clone()));
    servers.start(ground, &snapshots);
    let itself = AgentTask {
        name: config.agent.name.clone(),
        interval: config.collect.interval.of("agent"),
        data_dir: config.agent.data_dir.clone(),
        plugins: Box::new(plugins.clone()),
        board: Arc::clone(board),
        metrics: Arc::clone(metrics),
        clock: *clock,
        snapshots: snapshots.clone(),
    };
    lifecycle.supervise(AgentPart::Agent, itself.run(lifecycle.soft().clone()));
    lifecycle.tasks().spawn(stop(lifecycle.clone(), Arc::clone(board), snapshots));
}

/// Shows on the board that the parts stop, and which part failed. Then drops the last sender, so that the pipeline ends.
async fn stop(lifecycle: Lifecycle, board: Arc<Board>, snapshots: mpsc::Sender<Snapshot>) {
    lifecycle.soft().cancelled().await;
    board.stop();
    if let Some(part) = lifecycle.failed() {
        board.set(part.clone(), PartHealth::Failed, Some("it ended unexpectedly".to_owned()));
    }
    drop(snapshots);
}
