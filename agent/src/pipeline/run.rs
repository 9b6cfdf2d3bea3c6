//! The loop of the pipeline.

use std::time::Duration;

use pharos_model::snapshot::Snapshot;
use tokio::sync::mpsc;

use super::desk::Order;
use super::flow::Pipeline;
use super::rounds::Rounds;
use crate::plugin::PluginEvent;

/// Longest time between two checks of the wall clock. Silences end on that clock, which people may set.
const CLOCK_CHECK_MAX: Duration = Duration::from_secs(5);

impl Pipeline {
    /// Runs until all servers have stopped sending and everything is decided.
    pub(crate) async fn run(
        mut self,
        mut snapshots: mpsc::Receiver<Snapshot>,
        mut events: mpsc::Receiver<PluginEvent>,
        mut orders: mpsc::Receiver<Order>,
    ) {
        let mut rounds = Rounds::default();
        let mut open = true;
        while open || !rounds.is_empty() || !events.is_empty() {
            let now = self.clock.now();
            // Groups that have waited long enough, and silences that end.
            let due = self.dispatcher.next_due(now).map(|due| due.saturating_sub(now.monotonic).min(CLOCK_CHECK_MAX));
            tokio::select! {
                snapshot = snapshots.recv(), if open => match snapshot {
                    Some(snapshot) => self.observe(snapshot, &mut rounds),
                    None => open = false,
                },
                Some(ended) = rounds.next() => {
                    if let Some(judged) = rounds.ended(ended, &self.plugins) {
                        self.decide(judged).await;
                    }
                }
                Some(event) = events.recv() => self.on_plugin_event(event, &mut rounds).await,
                Some(order) = orders.recv() => self.on_order(order).await,
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => self.settle(Vec::new()).await,
            }
        }
        self.unmatched.store(&self.store).await;
    }
}
