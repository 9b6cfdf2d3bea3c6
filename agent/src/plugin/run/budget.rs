//! Budget of one call: CPU time, wall time, memory.
//!
//! CPU time is the time that the thread spends on the call, in the guest and in host calls that answer at once. Waiting does not count,
//! and neither does the time in which other calls run. Otherwise a busy machine would turn healthy plugins into offenders.
//!
//! Reading the thread's clock is a system call, and a call may cross between host and guest a thousand times. So the clock is read where a
//! poll begins and ends and at the ticks of the epoch, never at each crossing.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

use crate::config::plugins::LimitsConfig;

/// Ceilings of one call into a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub cpu: Duration,
    pub wall: Duration,
}

/// Ceilings of one plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// Instantiation, `describe`, `init` and `rules`.
    pub start: Budget,
    pub call: Budget,
    /// All memories and tables of one instance together.
    pub memory_bytes: u64,
}

impl Budgets {
    const START: Budget = Budget { cpu: Duration::from_secs(1), wall: Duration::from_secs(5) };
    const MEMORY_BYTES: u64 = 64 << 20;

    /// Ceilings of a plugin whose world lets one call use `call`, unless the config has other limits.
    pub fn new(limits: &LimitsConfig, call: Budget) -> Self {
        let call = Budget { cpu: limits.cpu.unwrap_or(call.cpu), wall: limits.wall.unwrap_or(call.wall) };
        Self { start: Self::START, call, memory_bytes: limits.memory.map_or(Self::MEMORY_BYTES, |size| size.as_u64()) }
    }
}

/// CPU time of the calling thread, nanoseconds.
fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Measures what a call uses. Shared by the store, which asks at each tick, and by the future that polls the call.
#[derive(Debug, Default)]
pub struct CpuMeter {
    used_ns: AtomicU64,
    budget_ns: AtomicU64,
    /// Thread time at which the thread began to run the call; 0 while it does not.
    mark_ns: AtomicU64,
    exceeded: AtomicBool,
}

impl CpuMeter {
    /// Begins a call.
    pub fn arm(&self, budget: Duration) {
        self.used_ns.store(0, Ordering::Relaxed);
        self.budget_ns.store(u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.mark_ns.store(0, Ordering::Relaxed);
        self.exceeded.store(false, Ordering::Relaxed);
    }

    /// Records that the thread begins to run the call. It may be another thread than before.
    fn resume(&self) {
        self.mark_ns.store(thread_cpu_ns().max(1), Ordering::Relaxed);
    }

    fn suspend(&self) {
        let mark = self.mark_ns.swap(0, Ordering::Relaxed);
        if mark != 0 {
            self.used_ns.fetch_add(thread_cpu_ns().saturating_sub(mark), Ordering::Relaxed);
        }
    }

    /// Whether the call, running now, is past its budget.
    pub fn is_exceeded(&self) -> bool {
        let mark = self.mark_ns.load(Ordering::Relaxed);
        let running = if mark == 0 { 0 } else { thread_cpu_ns().saturating_sub(mark) };
        let exceeded = self.used_ns.load(Ordering::Relaxed) + running > self.budget_ns.load(Ordering::Relaxed);
        self.exceeded.fetch_or(exceeded, Ordering::Relaxed);
        exceeded
    }

    /// Whether the call was ended because of its budget.
    pub fn was_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed))
    }
}

/// Polls a call, and reports to its meter when the thread runs it.
pub(crate) struct Metered<F> {
    call: Pin<Box<F>>,
    meter: Arc<CpuMeter>,
}

impl<F: Future> Metered<F> {
    pub(crate) fn new(call: F, meter: Arc<CpuMeter>) -> Self {
        Self { call: Box::pin(call), meter }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.meter.resume();
        let polled = self.call.as_mut().poll(context);
        self.meter.suspend();
        polled
    }
}

/// Limit for all memories and tables of a store together. wasmtime's own limits are per memory, so that a component with four of
/// them would get four times the limit.
#[derive(Debug)]
pub struct MemoryLimiter {
    limit_bytes: u64,
    held_bytes: u64,
    peak_bytes: u64,
    denied_bytes: Option<u64>,
}

/// Bytes that an element of a table takes.
const TABLE_ELEMENT_BYTES: usize = size_of::<usize>();

impl MemoryLimiter {
    pub fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, held_bytes: 0, peak_bytes: 0, denied_bytes: None }
    }

    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }

    /// Bytes that the guest asked to hold in all, if that was refused.
    pub fn denied_bytes(&self) -> Option<u64> {
        self.denied_bytes
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let wanted = self.held_bytes.saturating_add(desired.saturating_sub(current) as u64);
        if wanted > self.limit_bytes {
            self.denied_bytes = Some(wanted);
            return false;
        }
        self.held_bytes = wanted;
        self.peak_bytes = self.peak_bytes.max(wanted);
        true
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current.saturating_mul(TABLE_ELEMENT_BYTES), desired.saturating_mul(TABLE_ELEMENT_BYTES)))
    }
}
