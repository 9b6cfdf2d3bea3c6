//! One instance of a plugin and the calls into it.
//!
//! A call takes the instance and gives it back only after a normal return. After a trap, a timeout or a dropped future there is no
//! instance left that anyone could use: its state is undefined, a mutex in it may be locked for ever.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::budget::{Budget, Metered};
use super::call_error::{CallError, Export, Stop, Stopped};
use super::generation::Pre;
use crate::plugin::contract::bindings::alert_rule::AlertRulePlugin;
use crate::plugin::contract::bindings::notifier::NotifierPlugin;
use crate::plugin::contract::convert;
use crate::plugin::import::imports::{HANDLES_MAX, HOSTCALL_BYTES_MAX, HostState};

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
            Ok(Err(err)) => Err(explain(Export::Start, &err, store.data(), budget, memory_bytes)),
            Err(_) => Err(stopped(Export::Start, Stop::DeadlineExceeded(budget.wall), store.data())),
        }
    }

    /// Calls into the plugin within a budget.
    pub async fn call<T>(
        mut self,
        export: Export,
        budget: Budget,
        memory_bytes: u64,
        usage: &mut Usage,
        call: impl for<'a> FnOnce(&'a mut Store<HostState>, &'a Exports) -> BoxFuture<'a, wasmtime::Result<T>>,
    ) -> Result<(T, Self), CallError> {
        let meter = Arc::clone(&self.store.data().meter);
        let started = Instant::now();
        self.store.data().words.clear();
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
            Ok(Err(err)) => Err(explain(export, &err, self.store.data(), budget, memory_bytes)),
            Err(_) => Err(stopped(export, Stop::DeadlineExceeded(budget.wall), self.store.data())),
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
fn explain(export: Export, err: &wasmtime::Error, state: &HostState, budget: Budget, memory_bytes: u64) -> CallError {
    if state.meter.was_exceeded() {
        return stopped(export, Stop::CpuExceeded(budget.cpu), state);
    }
    if let Some(wanted) = state.limiter.denied_bytes() {
        let (wanted, limit) = (bytesize::ByteSize::b(wanted), bytesize::ByteSize::b(memory_bytes));
        return stopped(export, Stop::MemoryExceeded { wanted, limit }, state);
    }
    if let Some(full) = err.downcast_ref::<PoolConcurrencyLimitError>() {
        return CallError::NoPlace(full.to_string());
    }
    let why = match err.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => convert::reason(&err.root_cause().to_string()),
    };
    stopped(export, Stop::Trap(why), state)
}

fn stopped(export: Export, stop: Stop, state: &HostState) -> CallError {
    CallError::Stopped(Box::new(Stopped { export, stop, last_words: state.words.text() }))
}
