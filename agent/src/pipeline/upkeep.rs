//! Maintains the store and shows its state. A store in trouble degrades the agent, but never ends it.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::agent_part::AgentPart;
use pharos_model::error_chain::chain;
use tokio_util::sync::CancellationToken;

use crate::board::{Board, PartHealth};
use crate::store::Store;
use crate::telemetry::metrics::SelfMetrics;

/// Time between two checks for trouble, and for its end.
const EVERY: Duration = Duration::from_secs(1);

/// Maintains the store until the agent stops.
pub(crate) async fn maintain(store: Store, board: Arc<Board>, metrics: Arc<SelfMetrics>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match store.maintain().await {
            Ok(()) => show(&store, &board, &metrics),
            Err(err) => board.set(AgentPart::Store, PartHealth::Degraded, Some(chain(&err))),
        }
    }
}

/// Shows the state of the store in the status and in the metrics.
pub(crate) fn show(store: &Store, board: &Board, metrics: &SelfMetrics) {
    let condition = store.condition();
    metrics.set("pharos_store_degraded", &[], f64::from(u8::from(condition.trouble.is_some())));
    metrics.set("pharos_store_size_bytes", &[], condition.size_bytes as f64);
    for (kind, count) in &condition.failures {
        metrics.set("pharos_store_errors_total", &[kind], *count as f64);
    }
    let cause = condition.cause();
    let state = if cause.is_some() { PartHealth::Degraded } else { PartHealth::Ok };
    board.set(AgentPart::Store, state, cause);
}
