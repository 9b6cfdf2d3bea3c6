//! Start and stop of the process, and of all its parts.
//!
//! The first signal cancels the *soft* token: parts accept no new work and finish what they began. A second signal, or the deadline of the
//! drain, cancels the *hard* token, and all remaining work is dropped. A task that ends unexpectedly also cancels the soft token, since an
//! agent with a missing part must not look alive. No other signal ends the agent, because an end without a drain looks like a clean one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::agent_part::AgentPart;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// Longest time for the drain.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Handle of the running process, cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    tasks: TaskTracker,
    hard: CancellationToken,
    soft: CancellationToken,
    failed: Arc<OnceLock<AgentPart>>,
    signals: Arc<Mutex<Option<Signals>>>,
    drain_max: Duration,
}

/// Result of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A signal asked for the end, and all parts finished.
    Drained,
    /// A signal asked for the end, but some work was dropped.
    Cut,
    /// A task ended unexpectedly.
    Failed,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::draining_within(DRAIN_MAX)
    }
}

impl Lifecycle {
    /// Creates a lifecycle with this limit for the drain.
    pub fn draining_within(drain_max: Duration) -> Self {
        Self {
            tasks: TaskTracker::default(),
            hard: CancellationToken::default(),
            soft: CancellationToken::default(),
            failed: Arc::default(),
            signals: Arc::default(),
            drain_max,
        }
    }

    /// Tracker for tasks that end by themselves.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Token that is cancelled when the parts should finish.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// The part that ended unexpectedly; `None` if there is none.
    pub fn failed(&self) -> Option<&AgentPart> {
        self.failed.get()
    }

    /// Spawns a part that must run until the soft token is cancelled. If it ends or panics before, the process ends too.
    pub fn supervise(&self, part: AgentPart, task: impl Future<Output = ()> + Send + 'static) {
        let this = self.clone();
        self.tasks.spawn(async move {
            let mut task = this.tasks.spawn(task);
            let ended = tokio::select! {
                ended = &mut task => ended,
                () = this.hard.cancelled() => return task.abort(),
            };
            if !this.soft.is_cancelled() || ended.is_err() {
                let name = part.to_string();
                error!(part = name, "part `{name}` ended unexpectedly; the agent stops");
                // The first failed part is the cause, others follow from it.
                let _ = this.failed.set(part);
                this.soft.cancel();
            }
        });
    }

    /// Catches signals from now on. A signal during the start is not lost, and does not end a half-started process.
    pub fn catch_signals(&self) {
        *self.signals.lock() = Signals::catch();
    }

    /// Waits for a signal during the start, and cancels the soft token. The start has no loop that would receive the signal.
    pub async fn interrupted(&self) {
        let name = poll_fn(|context| {
            // The lock is held for one poll only. A start that ends first leaves the signals to `run`.
            let mut signals = self.signals.lock();
            pin!(next(&mut signals)).poll(context)
        });
        let name = name.await;
        info!(signal = name, "stopping on {name}");
        self.soft.cancel();
    }

    /// Waits for a signal or a failure, then for the drain.
    pub async fn run(&self) -> Ending {
        let caught = self.signals.lock().take();
        let mut signals = caught.or_else(Signals::catch);
        self.wait_for_end(&mut signals).await;
        self.soft.cancel();
        self.drain(&mut signals).await
    }

    async fn wait_for_end(&self, signals: &mut Option<Signals>) {
        tokio::select! {
            name = next(signals) => info!(signal = name, "stopping on {name}"),
            () = self.soft.cancelled() => {}
        }
    }

    async fn drain(&self, signals: &mut Option<Signals>) -> Ending {
        self.tasks.close();
        let finished = tokio::select! {
            () = self.tasks.wait() => true,
            name = next(signals) => {
                warn!(signal = name, "second signal, stopping at once");
                false
            }
            () = tokio::time::sleep(self.drain_max) => {
                let (tasks, limit) = (self.tasks.len(), self.drain_max);
                warn!(tasks, "{tasks} tasks did not finish within {limit:?}");
                false
            }
        };
        self.hard.cancel();
        match (self.failed().is_some(), finished) {
            (true, _) => Ending::Failed,
            (false, true) => Ending::Drained,
            (false, false) => Ending::Cut,
        }
    }
}

/// Signals that end the agent, and signals whose default action would.
#[derive(Debug)]
struct Signals {
    ending: [(&'static str, Signal); 3],
    others: [(&'static str, Signal); 5],
}

impl Signals {
    fn catch() -> Option<Self> {
        let caught = |name: &'static str, kind: SignalKind| Some((name, signal(kind).ok()?));
        Some(Self {
            ending: [
                caught("SIGTERM", SignalKind::terminate())?,
                caught("SIGINT", SignalKind::interrupt())?,
                caught("SIGQUIT", SignalKind::quit())?,
            ],
            others: [
                caught("SIGHUP", SignalKind::hangup())?,
                caught("SIGUSR1", SignalKind::user_defined1())?,
                caught("SIGUSR2", SignalKind::user_defined2())?,
                caught("SIGALRM", SignalKind::alarm())?,
                caught("SIGIO", SignalKind::io())?,
            ],
        })
    }
}

/// Waits for the next signal that ends the agent, and logs others. Without handlers it waits for ever, and the default action of a
/// signal ends the process.
async fn next(signals: &mut Option<Signals>) -> &'static str {
    let Some(Signals { ending, others }) = signals else { return std::future::pending().await };
    loop {
        tokio::select! {
            name = any(ending) => return name,
            name = any(others) => match name {
                "SIGHUP" => info!(signal = name, "SIGHUP changes nothing: pharos.toml is read at the start, so restart the agent after a change"),
                name => info!(signal = name, "{name} changes nothing"),
            },
        }
    }
}

async fn any(signals: &mut [(&'static str, Signal)]) -> &'static str {
    let each = signals.iter_mut().map(|(name, signal)| {
        Box::pin(async move {
            // A stream of signals never ends.
            signal.recv().await;
            *name
        })
    });
    futures_util::future::select_all(each).await.0
}

/// Raises the soft limit of open files to the hard limit. The soft limit of many systems is far too low for a server.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(err) = setrlimit(Resource::Nofile, raised)
    {
        warn!(error = %err, "the limit of open files stays at {}", descriptors_max());
    }
}

/// Number of files and sockets that this process may open.
pub fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
