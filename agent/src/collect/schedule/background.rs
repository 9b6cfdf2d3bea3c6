//! Reading that takes its time: beside the server's session, on one of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pharos_model::snapshot::PartId;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::collect::{CollectError, Facts};

/// What one collector read, or why not.
pub struct BackgroundRead {
    pub part: PartId,
    pub outcome: Result<Facts, CollectError>,
    /// When it should be read again.
    pub interval: Duration,
    pub took: Duration,
}

/// Collectors that read beside the session.
pub trait Background: Send + 'static {
    /// The parts that they fill.
    fn parts(&self) -> Vec<PartId>;
    /// When there is something to read.
    fn due(&self) -> Instant;
    /// Reads some of what is due; what belongs together comes together, once all of it was read.
    fn read(&mut self) -> BoxFuture<'_, Vec<BackgroundRead>>;
    /// Whether something was begun that is not read to its end.
    fn is_under_way(&self) -> bool;
    /// All of it is due now.
    fn hurry(&mut self);
}

/// Reads all that is due now, to its end.
pub async fn read_whole(background: &mut dyn Background) -> Vec<BackgroundRead> {
    let mut reads = Vec::new();
    let began_at = Instant::now();
    while background.is_under_way() || background.due() <= began_at {
        let read = background.read().await;
        // The end came in between.
        let is_cut_short = read.is_empty() && !background.is_under_way();
        reads.extend(read);
        if is_cut_short {
            break;
        }
    }
    reads
}

/// Reads whenever something is due, until told to stop.
pub async fn drive(
    mut background: Box<dyn Background>,
    reads: mpsc::Sender<Vec<BackgroundRead>>,
    hurry: Arc<Notify>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = hurry.notified() => background.hurry(),
            () = sleep_until(background.due()) => {
                let read = background.read().await;
                if !read.is_empty() && reads.send(read).await.is_err() {
                    break;
                }
            }
        }
    }
}
