//! One instance of a plugin and the calls into it.
//!
//! A call takes the instance and gives it back only after a normal return. After a trap, a timeout or a dropped future there is no
//! instance left that anyone could use: its state is undefined, a mutex in it may be locked for ever.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::bindings::alert_rule::AlertRulePlugin;
use super::bindings::notifier::NotifierPlugin;
use super::budget::{Budget, Metered};
use super::convert;
use super::generation::Pre;
use super::host::{HANDLES_MAX, HOSTCALL_BYTES_MAX, HostState};

/// Calls after which an instance is replaced, so that a leak inside it stays small.
const CALLS_MAX: u32 = 256;
const AGE_MAX: Duration = Duration::from_secs(600);

/// The world's exports.
pub enum Exports {
    AlertRule(AlertRulePlugin),
    Notifier(NotifierPlugin),
}

pub struct Instance {
    store: Store<HostState>,
    exports: Exports,
    calls: u32,
    born: Instant,
}

/// Why a call did not return.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("trapped: {0}")]
    Trap(String),
    #[error("used more than {0:?} of CPU time")]
    CpuExceeded(Duration),
    #[error("took longer than {0:?}")]
    DeadlineExceeded(Duration),
    #[error("asked for {wanted} of memory in all but may hold {limit}")]
    MemoryExceeded { wanted: bytesize::ByteSize, limit: bytesize::ByteSize },
    #[error("failed: {0}")]
    Failed(String),
    /// It could not do its work for a reason outside of it; counts as healthy.
    #[error("{0}")]
    Excused(String),
    /// It cannot do its work before the operator changes its settings or grants; counts as healthy.
    #[error("{0}")]
    Refused(String),
    #[error("is quarantined: {0}")]
    Quarantined(String),
    #[error("waited {waited:?} for its turn behind {behind}")]
    Busy { waited: Duration, behind: &'static str },
    #[error("found no place for another instance: {0}")]
    NoPlace(String),
    #[error("the plugin clock stands still, so nothing could interrupt it")]
    NoClock,
    #[error("exports another world")]
    OtherWorld,
}

impl CallError {
    /// A closed set, for metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::CpuExceeded(_) => "cpu",
            Self::DeadlineExceeded(_) => "timeout",
            Self::MemoryExceeded { .. } => "memory",
            Self::Failed(_) => "failed",
            Self::Excused(_) => "excused",
            Self::Refused(_) => "refused",
            Self::Quarantined(_) => "quarantined",
            Self::Busy { .. } => "busy",
            Self::NoPlace(_) => "no-place",
            Self::NoClock => "no-clock",
            Self::OtherWorld => "other-world",
        }
    }

    /// Whether it counts against the plugin's error budget.
    pub fn is_offence(&self) -> bool {
        match self {
            Self::Trap(_) | Self::CpuExceeded(_) | Self::DeadlineExceeded(_) | Self::MemoryExceeded { .. } | Self::Failed(_) => true,
            Self::Excused(_)
            | Self::Refused(_)
            | Self::Quarantined(_)
            | Self::Busy { .. }
            | Self::NoPlace(_)
            | Self::NoClock
            | Self::OtherWorld => false,
        }
    }
}

/// What a call used, with the instance that was made for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub wall: Duration,
    pub memory_peak_bytes: u64,
}

impl Usage {
    fn add(&mut self, store: &Store<HostState>, wall: Duration) {
        let state = store.data();
        self.cpu += state.meter.used();
        self.wall += wall;
        self.memory_peak_bytes = self.memory_peak_bytes.max(state.limiter.peak_bytes());
    }
}

impl Instance {
    /// Makes an instance; its `init` is not called yet. The limits count from the first instruction, a start function included.
    pub async fn start(pre: &Pre, state: HostState, budget: Budget, memory_bytes: u64, usage: &mut Usage) -> Result<Self, CallError> {
        let meter = Arc::clone(&state.meter);
        let mut store = Store::new(pre.engine(), state);
        let started = Instant::now();
        guard(&mut store);
        meter.arm(budget.cpu);
        let exports = {
            let instantiate = Metered::new(pre.instantiate(&mut store), Arc::clone(&meter));
            tokio::time::timeout(budget.wall, instantiate).await
        };
        usage.add(&store, started.elapsed());
        match exports {
            Ok(Ok(exports)) => Ok(Self { store, exports, calls: 0, born: Instant::now() }),
            Ok(Err(err)) => Err(explain(&err, store.data(), budget, memory_bytes)),
            Err(_) => Err(CallError::DeadlineExceeded(budget.wall)),
        }
    }

    /// Calls into the plugin within a budget.
    pub async fn call<T>(
        mut self,
        budget: Budget,
        memory_bytes: u64,
        usage: &mut Usage,
        call: impl for<'a> FnOnce(&'a mut Store<HostState>, &'a Exports) -> BoxFuture<'a, wasmtime::Result<T>>,
    ) -> Result<(T, Self), CallError> {
        let meter = Arc::clone(&self.store.data().meter);
        let started = Instant::now();
        meter.arm(budget.cpu);
        self.store.set_epoch_deadline(1);
        let called = {
            let call = Metered::new(call(&mut self.store, &self.exports), Arc::clone(&meter));
            tokio::time::timeout(budget.wall, call).await
        };
        usage.add(&self.store, started.elapsed());
        match called {
            Ok(Ok(value)) => {
                self.calls += 1;
                self.store.data_mut().handles.expire();
                Ok((value, self))
            }
            Ok(Err(err)) => Err(explain(&err, self.store.data(), budget, memory_bytes)),
            Err(_) => Err(CallError::DeadlineExceeded(budget.wall)),
        }
    }

    /// Whether it has done its share and should be replaced.
    pub fn is_worn(&self) -> bool {
        self.calls >= CALLS_MAX || self.born.elapsed() >= AGE_MAX
    }
}

/// Puts every limit on a new store.
fn guard(store: &mut Store<HostState>) {
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_max_component_handles(HANDLES_MAX);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        // The guest may hold the thread for a tick, then others come first.
        if store.data().meter.is_exceeded() { Ok(UpdateDeadline::Interrupt) } else { Ok(UpdateDeadline::Yield(1)) }
    });
}

/// Why the guest stopped, in the terms of its limits where one was the reason.
fn explain(err: &wasmtime::Error, state: &HostState, budget: Budget, memory_bytes: u64) -> CallError {
    if state.meter.was_exceeded() {
        return CallError::CpuExceeded(budget.cpu);
    }
    if let Some(wanted) = state.limiter.denied_bytes() {
        let (wanted, limit) = (bytesize::ByteSize::b(wanted), bytesize::ByteSize::b(memory_bytes));
        return CallError::MemoryExceeded { wanted, limit };
    }
    if let Some(full) = err.downcast_ref::<PoolConcurrencyLimitError>() {
        return CallError::NoPlace(full.to_string());
    }
    match err.downcast_ref::<Trap>() {
        Some(trap) => CallError::Trap(trap.to_string()),
        None => CallError::Trap(convert::reason(&err.root_cause().to_string())),
    }
}
