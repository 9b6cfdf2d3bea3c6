//! Slow collectors, which use a second session beside the main session of the server.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pharos_model::snapshot::PartId;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::collect::collect_error::CollectError;
use crate::collect::collector::Facts;

/// The outcome of one run of a collector that uses the second session.
pub(crate) struct BackgroundRead {
    pub part: PartId,
    pub outcome: Result<Facts, CollectError>,
    /// Time until the part should be read again.
    pub interval: Duration,
    pub took: Duration,
}

/// Collectors that use the second session.
pub(crate) trait Background: Send + 'static {
    /// The parts that these collectors fill.
    fn parts(&self) -> Vec<PartId>;
    /// When the next reading is due.
    fn due(&self) -> Instant;
    /// Makes a step of the readings that are due. Readings that belong together are returned together, once all are complete.
    fn read(&mut self) -> BoxFuture<'_, Vec<BackgroundRead>>;
    /// Whether a reading was begun and is not finished.
    fn is_under_way(&self) -> bool;
    /// Makes every reading due now.
    fn make_all_due(&mut self);
}

/// Reads everything that is due now, and returns once it is complete.
pub(crate) async fn read_whole(background: &mut dyn Background) -> Vec<BackgroundRead> {
    let mut reads = Vec::new();
    let began_at = Instant::now();
    while background.is_under_way() || background.due() <= began_at {
        let read = background.read().await;
        // A reading that stops without a result was cancelled by the end of the agent.
        let is_cut_short = read.is_empty() && !background.is_under_way();
        reads.extend(read);
        if is_cut_short {
            break;
        }
    }
    reads
}

/// Reads whenever a reading is due, until `stop` is cancelled. `wake` makes every reading due.
pub(super) async fn drive(
    mut background: Box<dyn Background>,
    reads: mpsc::Sender<Vec<BackgroundRead>>,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = wake.notified() => background.make_all_due(),
            () = sleep_until(background.due()) => {
                let read = background.read().await;
                if !read.is_empty() && reads.send(read).await.is_err() {
                    break;
                }
            }
        }
    }
}
