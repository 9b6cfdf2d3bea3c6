//! Start and stop: who runs, and how everything ends.
//!
//! The first signal cancels the *soft* token: parts stop taking work and finish what they began. A second signal, or the drain's
//! deadline, cancels the *hard* one, and whatever still runs is dropped. A task that ends unasked cancels the soft token too, since an
//! agent with a part missing must not look alive. No other signal ends the agent, since an end without a drain looks like a clean one.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pharos_model::agent_part::AgentPart;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

/// How long the drain may take.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Handles of the running process, cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    tasks: TaskTracker,
    hard: CancellationToken,
    soft: CancellationToken,
    failed: Arc<OnceLock<AgentPart>>,
    signals: Arc<Mutex<Option<Signals>>>,
    drain_max: Duration,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Asked to, and everything finished.
    Drained,
    /// Asked to, but something had to be dropped.
    Cut,
    /// A task ended unasked.
    Failed,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::draining_within(DRAIN_MAX)
    }
}

impl Lifecycle {
    /// One whose drain may take this long.
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

    /// Where tasks are spawned that end by themselves.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Cancelled when the parts should finish.
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// The part that ended unasked, if one did.
    pub fn failed(&self) -> Option<&AgentPart> {
        self.failed.get()
    }

    /// Spawns a part that must run until the soft token; when it ends or panics before, so does the process.
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
                error!(part = name, "part `{name}` ended unasked, stopping");
                // The first one is the cause, others follow from it.
                let _ = this.failed.set(part);
                this.soft.cancel();
            }
        });
    }

    /// Catches signals from now on, so that one that comes while the parts start is not lost, nor ends the process half-started.
    pub fn catch_signals(&self) {
        *self.signals.lock().unwrap_or_else(PoisonError::into_inner) = Signals::catch();
    }

    /// Waits for a signal that comes while the parts start, and cancels the soft token: the start has no loop that would see the signal.
    pub async fn interrupted(&self) {
        let name = poll_fn(|context| {
            // Locked for one look only: a start that ends first leaves the signals to `run`.
            let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
            pin!(next(&mut signals)).poll(context)
        });
        let name = name.await;
        info!(signal = name, "stopping on {name}");
        self.soft.cancel();
    }

    /// Waits for a signal or a failure, then for the drain.
    pub async fn run(&self) -> Ending {
        let caught = self.signals.lock().unwrap_or_else(PoisonError::into_inner).take();
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

/// Signals that end the agent, and those that would without us.
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

/// Waits for the next signal that ends the agent; others are logged. Without handlers there is nothing to wait for, and the default action
/// ends the process.
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
            // A stream of signals has no end.
            signal.recv().await;
            *name
        })
    });
    futures_util::future::select_all(each).await.0
}

/// Raises the limit of open files as far as this process may: the soft limit of many systems is that of programs from the seventies.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(err) = setrlimit(Resource::Nofile, raised)
    {
        warn!(error = %err, "the limit of open files stays at {}", descriptors_max());
    }
}

/// How many files and sockets this process may have open.
pub fn descriptors_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
