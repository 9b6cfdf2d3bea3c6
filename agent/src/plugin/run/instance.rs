//! Instance of a plugin, and the calls into it.
//!
//! A call takes the instance and gives it back only after a normal return. After a trap, a timeout or a dropped future the instance is
//! dropped. Its state is undefined, and a mutex in it may be locked for ever.

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use super::budget::{Budget, Metered};
use super::call_error::{CallError, Export, Stop, Stopped};
use super::linked::{Exports, InstanceState, Linked};
use crate::plugin::contract::bindings::plugin::Plugin;
use crate::plugin::contract::convert;

/// Calls after which an instance is replaced, so that a leak inside it stays small.
const CALLS_MAX: u32 = 256;
/// Age at which an instance is replaced, so that a leak inside it stays small.
const AGE_MAX: Duration = Duration::from_secs(600);
/// Bytes that a plugin may hand to the host in one call. The host copies them before anything can interrupt it.
const HOSTCALL_BYTES_MAX: usize = 4 << 20;
/// Handles of all kinds that an instance may hold. Each takes memory of the host.
const HANDLES_MAX: usize = 4_096;

/// An instance that can be called.
pub struct Instance {
    store: Store<InstanceState>,
    exports: Exports,
    calls: u32,
    born: Instant,
}

/// Resources that a call used, with those of the instance that was made for it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu: Duration,
    pub wall: Duration,
    pub memory_peak_bytes: u64,
}

impl Usage {
    fn add(&mut self, store: &Store<InstanceState>, wall: Duration) {
        let state = store.data();
        self.cpu += state.meter.used();
        self.wall += wall;
        self.memory_peak_bytes = self.memory_peak_bytes.max(state.limiter.peak_bytes());
    }
}

/// The export that a call goes to, and the budget of the call.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub export: Export,
    pub budget: Budget,
}

impl Instance {
    /// Makes an instance; its `init` is not called yet. The limits count from the first instruction, a start function included.
    pub async fn start(linked: &Linked, state: InstanceState, budget: Budget, usage: &mut Usage) -> Result<Self, CallError> {
        let mut store = Store::new(linked.engine(), state);
        guard(&mut store);
        let entry = Entry { export: Export::Start, budget };
        let exports = run(&mut store, linked, entry, usage, |store, linked| linked.instantiate(store).boxed()).await?;
        Ok(Self { store, exports, calls: 0, born: Instant::now() })
    }

    /// Calls an export that plugins of every world have.
    pub async fn call_plugin<T>(
        mut self,
        entry: Entry,
        usage: &mut Usage,
        call: impl for<'a> FnOnce(&'a mut Store<InstanceState>, &'a Plugin) -> BoxFuture<'a, wasmtime::Result<T>>,
    ) -> Result<(T, Self), CallError> {
        let Self { store, exports, .. } = &mut self;
        let answer = run(store, &exports.plugin, entry, usage, call).await?;
        Ok((answer, self.after_call()))
    }

    /// Calls an export of the plugin's world, whose bindings are `E`. Without any effect if the plugin is of another world.
    pub async fn call_world<E: 'static, T>(
        mut self,
        entry: Entry,
        usage: &mut Usage,
        call: impl for<'a> FnOnce(&'a mut Store<InstanceState>, &'a E) -> BoxFuture<'a, wasmtime::Result<T>>,
    ) -> Result<(T, Self), CallError> {
        let Self { store, exports, .. } = &mut self;
        let exports = exports.world.downcast_ref::<E>().ok_or(CallError::OtherWorld)?;
        let answer = run(store, exports, entry, usage, call).await?;
        Ok((answer, self.after_call()))
    }

    fn after_call(mut self) -> Self {
        self.calls += 1;
        self.store.data_mut().imports.handles.clear();
        self
    }

    /// Whether the instance has reached its number of calls or its age, and should be replaced.
    pub fn is_worn(&self) -> bool {
        self.calls >= CALLS_MAX || self.born.elapsed() >= AGE_MAX
    }
}

/// Calls into the guest within a budget, and records what the call used.
async fn run<X, T>(
    store: &mut Store<InstanceState>,
    exports: &X,
    Entry { export, budget }: Entry,
    usage: &mut Usage,
    call: impl for<'a> FnOnce(&'a mut Store<InstanceState>, &'a X) -> BoxFuture<'a, wasmtime::Result<T>>,
) -> Result<T, CallError> {
    let meter = Arc::clone(&store.data().meter);
    let started = Instant::now();
    store.data().imports.last_words.clear();
    meter.arm(budget.cpu);
    store.set_epoch_deadline(1);
    let called = {
        let call = Metered::new(call(&mut *store, exports), meter);
        tokio::time::timeout(budget.wall, call).await
    };
    usage.add(store, started.elapsed());
    match called {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(err)) => Err(explain(export, &err, store.data(), budget)),
        Err(_) => Err(stopped(export, Stop::DeadlineExceeded(budget.wall), store.data())),
    }
}

/// Puts every limit on a new store.
fn guard(store: &mut Store<InstanceState>) {
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
    store.set_max_component_handles(HANDLES_MAX);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|store| {
        // The guest may hold the thread for a tick, then others come first.
        if store.data().meter.is_exceeded() { Ok(UpdateDeadline::Interrupt) } else { Ok(UpdateDeadline::Yield(1)) }
    });
}

/// Reason why the guest stopped, in the terms of its limits where a limit was the reason.
fn explain(export: Export, err: &wasmtime::Error, state: &InstanceState, budget: Budget) -> CallError {
    if state.meter.was_exceeded() {
        return stopped(export, Stop::CpuExceeded(budget.cpu), state);
    }
    if let Some(wanted) = state.limiter.denied_bytes() {
        let (wanted, limit) = (ByteSize::b(wanted), ByteSize::b(state.limiter.limit_bytes()));
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

fn stopped(export: Export, stop: Stop, state: &InstanceState) -> CallError {
    CallError::Stopped(Box::new(Stopped { export, stop, last_words: state.imports.last_words.text() }))
}
