//! Reading that takes its time: beside the server's session, on one of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::collect::{CollectError, Facts};

/// What one collector read, or why not.
pub struct Read {
    pub collector: &'static str,
    pub outcome: Result<Facts, CollectError>,
    /// When it should be read again.
    pub interval: Duration,
    pub took: Duration,
}

/// Collectors that read beside the session.
pub trait Aside: Send + 'static {
    /// The parts that they fill.
    fn names(&self) -> Vec<&'static str>;
    /// When there is something to read.
    fn due(&self) -> Instant;
    /// Reads some of what is due; what belongs together comes together, once all of it was read.
    fn read(&mut self) -> BoxFuture<'_, Vec<Read>>;
    /// Whether something was begun that is not read to its end.
    fn is_under_way(&self) -> bool;
    /// All of it is due now.
    fn hurry(&mut self);
}

/// Reads all that is due now, to its end.
pub async fn read_whole(aside: &mut dyn Aside) -> Vec<Read> {
    let mut reads = Vec::new();
    let began_at = Instant::now();
    while aside.is_under_way() || aside.due() <= began_at {
        let read = aside.read().await;
        // The end came in between.
        let is_cut_short = read.is_empty() && !aside.is_under_way();
        reads.extend(read);
        if is_cut_short {
            break;
        }
    }
    reads
}

/// Reads whenever something is due, until told to stop.
pub async fn drive(mut aside: Box<dyn Aside>, reads: mpsc::Sender<Vec<Read>>, hurry: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = hurry.notified() => aside.hurry(),
            () = sleep_until(aside.due()) => {
                let read = aside.read().await;
                if !read.is_empty() && reads.send(read).await.is_err() {
                    break;
                }
            }
        }
    }
}
