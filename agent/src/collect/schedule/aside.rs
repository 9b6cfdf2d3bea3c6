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
    /// Reads what is due; what belongs together comes together.
    fn read(&mut self) -> BoxFuture<'_, Vec<Read>>;
    /// All of it is due now.
    fn hurry(&mut self);
}

/// Reads whenever something is due, until told to stop; what it reads when it is told so is finished.
pub async fn drive(mut aside: Box<dyn Aside>, reads: mpsc::Sender<Vec<Read>>, hurry: Arc<Notify>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = hurry.notified() => aside.hurry(),
            () = sleep_until(aside.due()) => {
                if reads.send(aside.read().await).await.is_err() {
                    break;
                }
            }
        }
    }
}
