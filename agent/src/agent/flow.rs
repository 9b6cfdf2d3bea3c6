//! The flow from snapshots to messages. It begins with the stored state of the previous agent.

use std::sync::Arc;

use pharos_model::agent_part::AgentPart;
use pharos_model::alert::AlertBook;
use pharos_model::delta::Deltas;
use pharos_model::dispatch::{Dispatcher, Routes};
use pharos_model::snapshot::Snapshot;
use pharos_model::subject::SubjectKey;
use tokio::sync::mpsc;
use tracing::warn;

use super::ground::Ground;
use super::start_error::StartError;
use crate::board::PartHealth;
use crate::collect::agent;
use crate::config::Config;
use crate::notify::Receivers;
use crate::pipeline::unmatched::Unmatched;
use crate::pipeline::{Desk, Pipeline, upkeep};
use crate::plugin::{PluginEvent, PluginHost};

/// Fewest snapshots that may wait for judgement. Later ones are dropped and counted.
const QUEUED_SNAPSHOTS_MIN: usize = 64;
/// Snapshots of each subject that may wait, where that is more: all servers may be read in one moment.
const QUEUED_SNAPSHOTS_EACH: usize = 2;

/// The two ends of the flow that other parts hold.
pub(super) struct Flow {
    /// Sends snapshots into the flow, which ends once every copy is dropped.
    pub snapshots: mpsc::Sender<Snapshot>,
    /// Sends requests of people into the flow.
    pub desk: Desk,
}

/// Restores the pipeline from the store and starts it. `watched` are the configured servers and databases.
pub(super) async fn start(
    ground: &Ground,
    plugins: &PluginHost,
    events: mpsc::Receiver<PluginEvent>,
    receivers: Receivers,
    watched: Vec<SubjectKey>,
) -> Result<Flow, StartError> {
    let Ground { config, board, metrics, store, lifecycle, .. } = ground;
    let mut subjects = watched;
    subjects.push(agent::subject(&config.agent.name).key());
    let mut pipeline = restored(ground, plugins, receivers).await?;
    let is_enabled = |id: &str| config.plugin.get(id).is_none_or(|plugin| plugin.enabled);
    pipeline.remove_unconfigured(|subject| subjects.contains(subject), is_enabled).await;
    let (snapshots, queue) = mpsc::channel(QUEUED_SNAPSHOTS_MIN.max(subjects.len() * QUEUED_SNAPSHOTS_EACH));
    board.set(AgentPart::Pipeline, PartHealth::Ok, None);
    let (desk, orders) = Desk::open();
    lifecycle.supervise(AgentPart::Pipeline, pipeline.run(queue, events, orders));
    let maintained = upkeep::maintain(store.clone(), Arc::clone(board), Arc::clone(metrics), lifecycle.soft().clone());
    lifecycle.supervise(AgentPart::Store, maintained);
    Ok(Flow { snapshots, desk })
}

/// The pipeline with the alerts, silences and deliveries of the previous agent.
async fn restored(ground: &Ground, plugins: &PluginHost, receivers: Receivers) -> Result<Pipeline, StartError> {
    let Ground { config, clock, board, metrics, store, .. } = ground;
    let alerts = AlertBook::restore(store.alerts().await?, clock.now());
    let mut dispatcher = dispatcher(config);
    let unrouted = dispatcher.restore(store.dispatch().await?, &alerts, clock.now());
    for withheld in &unrouted {
        warn!(receiver = withheld.receiver, fingerprint = %withheld.key.fingerprint, "`{}` gets no message about an alert: {}", withheld.receiver, withheld.why);
    }
    for (silence, why) in dispatcher.silences().filter_map(|silence| Some((silence, silence.matchers.problem()?))) {
        warn!(silence = silence.id, "the silence `{}` hides nothing: {why}", silence.id);
    }
    Ok(Pipeline {
        deltas: Deltas::default(),
        alerts,
        dispatcher,
        unmatched: Unmatched::restore(&config.alerts, store, Arc::clone(metrics)).await?,
        plugins: plugins.clone(),
        store: store.clone(),
        board: Arc::clone(board),
        receivers,
        metrics: Arc::clone(metrics),
        clock: *clock,
    })
}

/// The routes, inhibitions and silences of the config, which was checked.
fn dispatcher(config: &Config) -> Dispatcher {
    let routes = config.route.iter().filter_map(|route| route.route().ok()).collect();
    let receivers: Vec<String> = config.receiver.iter().map(|receiver| receiver.name.clone()).collect();
    if config.route.is_empty() && !receivers.is_empty() {
        warn!("there are receivers but no [[route]] leads to them; no alert is sent");
    }
    let inhibitions = config.inhibit.iter().filter_map(|inhibition| inhibition.inhibition().ok()).collect();
    let silences = config.silence.iter().filter_map(|silence| silence.silence().ok()).collect();
    Dispatcher::new(Routes { routes, receivers }, inhibitions, silences)
}
