//! The wasmtime engine and the clock that interrupts plugins.
//!
//! Features that the contract does not need are off: code that is not compiled in cannot be attacked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pharos_model::duration::milliseconds;
use tracing::{error, info};
use wasmtime::{Config, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::turns::{SHARE, SHARES};
use crate::clock::Clock;

/// Time between two checks whether a running plugin is past its budget.
pub const TICK: Duration = Duration::from_millis(10);

/// Age of the last tick at which the clock counts as dead. It could not interrupt a plugin, so no plugin is called.
pub const TICKER_DEAD_AFTER: Duration = Duration::from_secs(1);

/// Bytes of stack that a plugin's own calls may take. Recursion without end traps there.
const WASM_STACK_BYTES: usize = 512 << 10;

/// Core modules that one component may instantiate. An interpreter brings many: Python has 38, a module for each of its libraries.
pub const CORE_INSTANCES_MAX: u32 = 64;
/// Memories of one component. The pool has address space for each.
pub const MEMORIES_MAX: u32 = 4;
/// Tables of one component. The pool has a place for each.
pub const TABLES_MAX: u32 = 8;

/// Settings that decide whether compiled code fits. The agent and its compile helper share them.
fn base_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(WASM_STACK_BYTES + (512 << 10))
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_memory64(false)
        .concurrency_support(false);
    config
}

/// Source of the memory of instances. Code that was compiled for the one does not run on the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// From a pool, in which every memory has 4 GiB of address space: no access needs a check.
    Pool,
    /// From the system, as little as they need: for machines that limit address space (`ulimit -v`).
    OnDemand,
}

impl Places {
    pub fn from_engine(engine: &Engine) -> Self {
        if engine.pooling_allocator_metrics().is_some() { Self::Pool } else { Self::OnDemand }
    }

    fn config(self) -> Config {
        let mut config = base_config();
        if self == Self::OnDemand {
            config.memory_reservation(16 << 20).memory_reservation_for_growth(16 << 20).memory_guard_size(64 << 10);
        }
        config
    }
}

/// The engine of the compile helper: it runs nothing, so it reserves nothing.
pub fn compiling(places: Places) -> wasmtime::Result<Engine> {
    Engine::new(&places.config())
}

/// The engine that runs plugins. Without the address space for a pool, or with `pooling` off, instances are made on demand.
pub fn running(pooling: bool) -> wasmtime::Result<Engine> {
    if pooling {
        let mut config = Places::Pool.config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        match Engine::new(&config) {
            Ok(engine) => return Ok(engine),
            Err(err) => info!(error = %err, "no address space for a pool of plugin instances, making them on demand"),
        }
    }
    Engine::new(&Places::OnDemand.config())
}

/// An instance for every turn, and one for the plugin that is being loaded. It is address space, not memory: 4 GiB for each memory.
fn pool() -> PoolingAllocationConfig {
    const INSTANCES: u32 = (SHARE * SHARES) as u32 + 8;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES)
        // A number that is counted up to, and nothing that is reserved.
        .total_core_instances(CORE_INSTANCES_MAX * INSTANCES)
        .total_memories(2 * INSTANCES)
        .total_tables(4 * INSTANCES)
        .total_stacks(INSTANCES)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .table_elements(20_000)
        .max_memory_size(256 << 20)
        .max_unused_warm_slots(8)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(64 << 10);
    pool
}

/// Advances the epoch every [`TICK`] on a thread of its own, so that no busy runtime can stop it.
#[derive(Debug, Clone)]
pub struct Ticker {
    beat_ms: Arc<AtomicU64>,
    /// Whether it was logged that the clock stands still.
    stands_still: Arc<AtomicBool>,
    clock: Clock,
}

impl Ticker {
    /// Starts the thread; it ends with the engine.
    pub fn start(engine: &Engine, clock: Clock) -> std::io::Result<Self> {
        let ticker = Self { beat_ms: Arc::new(AtomicU64::new(milliseconds(clock.monotonic()))), stands_still: Arc::default(), clock };
        let (engine, beat) = (engine.weak(), ticker.clone());
        std::thread::Builder::new().name("plugin-clock".to_owned()).spawn(move || beat.run(&engine))?;
        Ok(ticker)
    }

    fn run(&self, engine: &EngineWeak) {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            self.beat_ms.store(milliseconds(self.clock.monotonic()), Ordering::Relaxed);
            std::thread::sleep(TICK);
        }
    }

    /// Time since the last tick.
    pub fn age(&self) -> Duration {
        self.clock.monotonic().saturating_sub(Duration::from_millis(self.beat_ms.load(Ordering::Relaxed)))
    }

    /// Whether the clock ticks. Logs when that changes.
    pub fn is_alive(&self) -> bool {
        let age = self.age();
        let alive = age < TICKER_DEAD_AFTER;
        let stood_still = self.stands_still.swap(!alive, Ordering::Relaxed);
        match (stood_still, alive) {
            (false, false) => error!(?age, "the plugin clock stands still, calling no plugin"),
            (true, true) => info!("the plugin clock ticks again, calling plugins"),
            _ => {}
        }
        alive
    }
}
