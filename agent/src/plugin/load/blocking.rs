//! Work that takes long, off the runtime's few threads.

use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

/// Runs work on a thread that may block: on the runtime's own threads it would delay every other task.
pub(crate) async fn run_blocking<T: Send + 'static>(tasks: &TaskTracker, work: impl FnOnce() -> T + Send + 'static) -> T {
    match tasks.spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime has ended, and polls nothing again.
        Err(Err(_)) => std::future::pending().await,
    }
}
