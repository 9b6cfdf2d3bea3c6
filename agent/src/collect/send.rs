//! How tasks send their snapshots to the pipeline.

use pharos_model::snapshot::Snapshot;
use tokio::sync::mpsc;
use tracing::warn;

use crate::telemetry::metrics::SelfMetrics;

/// Sends a snapshot without waiting, and returns false if the queue is full. The snapshot is then dropped, counted and logged: the next one
/// has newer facts, and a task that waited would collect late.
pub(super) fn send(snapshots: &mpsc::Sender<Snapshot>, snapshot: Snapshot, metrics: &SelfMetrics) -> bool {
    let subject = snapshot.subject.key();
    let is_sent = snapshots.try_send(snapshot).is_ok();
    if !is_sent {
        metrics.add("pharos_collect_skipped_total", &[&subject.id, "snapshot"], 1.0);
        warn!(%subject, "a snapshot of {subject} was dropped: earlier snapshots are not judged yet");
    }
    is_sent
}
