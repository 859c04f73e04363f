//! The engine: one for every guest, tuned so that a fresh guest costs microseconds.
//!
//! The figures behind the settings: with pages scanned and kept resident a fresh guest costs 10 to 18 µs instead of 40 to 60,
//! and requests under load are several times faster, for no mapping changes then. A reservation of 4 GiB per memory
//! spares bounds checks (a factor of 1.3 to 1.5 in code that works on memory).

use anyhow::Context;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Memory mappings per slot of the pool: memory, table and stack, each with what guards it.
const MAPPINGS_PER_SLOT: usize = 6;
/// Mappings that the rest of the process may need: near the limit even `malloc` fails.
const MAPPINGS_SPARED: usize = 12_000;
/// Address space per memory with which no access needs a check: all that a 32-bit address can name.
const FAST_RESERVATION: u64 = 4 << 30;
/// The pool has one part for so many cores.
const CORES_PER_SHARD: usize = 8;
/// Where the system tells no limit: Linux's default.
const MAPPINGS_DEFAULT: usize = 65_530;

/// How many guests can live at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// Of HTTP requests.
    pub(super) requests: usize,
    /// Of activities.
    pub(super) activities: usize,
    /// Of entities.
    pub(super) entities: usize,
    /// Of orchestrators that run a turn.
    pub(super) turns: usize,
    /// Of orchestrators that are kept between turns.
    pub(super) residents: usize,
}

impl Slots {
    /// All of them, and a few more: a guest's slot is free a little later than its quota.
    pub(super) fn total(self) -> usize {
        self.requests + self.activities + self.entities + self.turns + self.residents + 32
    }

    /// As many as `mappings_max` memory mappings allow: residents go first (they come back by replay), then the others
    /// in proportion.
    fn fit(self, mappings_max: usize) -> Self {
        let slots_max = (mappings_max.saturating_sub(MAPPINGS_SPARED) / MAPPINGS_PER_SLOT).max(64);
        let surplus = self.total().saturating_sub(slots_max);
        let residents = self.residents.saturating_sub(surplus);
        let fitted = Self { residents, ..self };
        if fitted.total() <= slots_max {
            return fitted;
        }
        let share = |slots: usize| (slots * slots_max / (2 * fitted.total())).max(4);
        Self {
            requests: share(self.requests),
            activities: share(self.activities),
            entities: share(self.entities),
            turns: share(self.turns),
            residents,
        }
    }
}

/// Makes the engine. Where the system has not enough address space for the fast settings, smaller ones are tried.
///
/// # Errors
/// When even a small pool does not fit.
pub(super) fn new(slots: Slots, memory_bytes_max: usize) -> anyhow::Result<(Engine, Slots)> {
    let wanted = slots.fit(mappings_max());
    if wanted != slots {
        tracing::warn!(
            ?slots,
            ?wanted,
            "fewer guests than configured: the system's vm.max_map_count is too low for all"
        );
    }
    let smaller = Slots {
        requests: wanted.requests.min(64),
        activities: wanted.activities.min(64),
        entities: wanted.entities.min(32),
        turns: wanted.turns.min(32),
        residents: wanted.residents.min(256),
    };
    // Code that works on memory is faster with 4 GiB of address space per guest; less needs checks.
    let attempts = [
        (wanted, Memory::Pooled { reservation: FAST_RESERVATION }),
        (wanted, Memory::Pooled { reservation: 0 }),
        (smaller, Memory::Pooled { reservation: FAST_RESERVATION }),
        (smaller, Memory::Pooled { reservation: 0 }),
        (smaller, Memory::OnDemand),
    ];
    let mut failure = None;
    for (slots, memory) in attempts {
        match with_few_shards(&config(slots, memory, memory_bytes_max)) {
            Ok(engine) => {
                if let Some(error) = failure {
                    tracing::warn!(?slots, ?memory, %error, "guests get less address space than they should: they are slower");
                }
                return Ok((engine, slots));
            }
            Err(error) => failure = Some(error),
        }
    }
    let failure = failure.expect("every attempt failed: the last one's error was kept");
    Err(anyhow::Error::from(failure)).context("reserving address space for guests: raise the limit (ulimit -v)")
}

/// Makes an engine whose pool is in few parts.
///
/// wasmtime divides a pool's slots into as many parts as there are cores for the calling thread, at most 16. A thread takes slots
/// from its own part, and fresh ones sooner than one that another thread left: where guests are freed by other threads than made
/// them, as residents are, sooner or later every slot has been used, and each that was keeps its memory. One part for eight
/// cores is enough: its lock is held for some list operations of a guest's tens of microseconds.
fn with_few_shards(config: &Config) -> wasmtime::Result<Engine> {
    std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            run_on_one_core_in(CORES_PER_SHARD);
            Engine::new(config)
        });
        made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Lets the calling thread use one in so many of its cores, which is what wasmtime counts. Where the system refuses, there are
/// more shards.
fn run_on_one_core_in(cores: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: a set is plain bits, for which all zero is a value; the calls get its size and concern this thread alone.
    unsafe {
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        let mut some: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        if libc::sched_getaffinity(0, size, &raw mut all) != 0 {
            return;
        }
        let usable = (0..libc::CPU_SETSIZE as usize).filter(|core| libc::CPU_ISSET(*core, &all));
        usable.step_by(cores).for_each(|core| libc::CPU_SET(core, &mut some));
        libc::sched_setaffinity(0, size, &raw const some);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = cores;
}

/// The system's limit of memory mappings.
pub(super) fn mappings_max() -> usize {
    std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(MAPPINGS_DEFAULT)
}

/// Where guests' memory comes from.
#[derive(Clone, Copy, Debug)]
enum Memory {
    /// From a pool with so many bytes of address space per memory; at least what a memory may grow to.
    Pooled { reservation: u64 },
    /// Mapped for each guest: slow, but in need of no address space beforehand.
    OnDemand,
}

fn config(slots: Slots, memory: Memory, memory_bytes_max: usize) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        // One result on every machine: replay must see what the first run saw.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .async_stack_size(1 << 20)
        .max_wasm_stack(512 << 10)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(24));
    match memory {
        Memory::Pooled { reservation } => {
            let memory_bytes_max = memory_bytes_max.max(1 << 20);
            let reservation = reservation.max(memory_bytes_max as u64);
            config.memory_reservation(reservation).memory_reservation_for_growth(0);
            if reservation < FAST_RESERVATION {
                config.memory_guard_size(64 << 10);
            }
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots, memory_bytes_max)));
        }
        Memory::OnDemand => {
            config.memory_reservation(0).memory_reservation_for_growth(1 << 20).memory_guard_size(64 << 10);
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        }
    }
    config
}

/// Counts per slot are those of Rust guests with room for a share of JavaScript and Python ones, whose components have
/// dozens of core instances and tables, and several memories.
fn pool(slots: Slots, memory_bytes_max: usize) -> PoolingAllocationConfig {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let slots = slots.total();
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(slots))
        .total_core_instances(count(slots * 8))
        .total_memories(count(slots + slots / 4))
        .total_tables(count(slots * 3))
        .total_stacks(count(slots))
        .max_memory_size(memory_bytes_max)
        .max_memories_per_component(8)
        .max_memories_per_module(8)
        .max_tables_per_component(64)
        .max_tables_per_module(16)
        .max_core_instances_per_component(128)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .table_elements(60_000)
        .max_unused_warm_slots(256)
        .pagemap_scan(Enabled::Auto);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.linear_memory_keep_resident(1 << 20).table_keep_resident(1 << 20).async_stack_keep_resident(1 << 20);
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_settings_makes_an_engine() {
        let slots = Slots { requests: 2, activities: 2, entities: 2, turns: 2, residents: 2 };
        let pooled = |reservation| Memory::Pooled { reservation };
        for memory in [pooled(FAST_RESERVATION), pooled(0), Memory::OnDemand] {
            for memory_bytes_max in [64 << 10, 100 << 20, 256 << 20, 4 << 30] {
                let engine = Engine::new(&config(slots, memory, memory_bytes_max));
                assert!(engine.is_ok(), "{memory:?} {memory_bytes_max}: {:?}", engine.err());
            }
        }
    }

    #[test]
    fn a_slot_that_another_thread_left_is_taken_before_a_fresh_one() {
        let slots = Slots { requests: 100, activities: 100, entities: 1, turns: 1, residents: 1 };
        let engine = with_few_shards(&config(slots, Memory::Pooled { reservation: 0 }, 1 << 20)).unwrap();
        let module = wasmtime::Module::new(&engine, wat::parse_str("(module (memory 1))").unwrap()).unwrap();
        for _ in 0..64 {
            let (engine, module) = (engine.clone(), module.clone());
            let one_guest = move || {
                let mut store = wasmtime::Store::new(&engine, ());
                wasmtime::Instance::new(&mut store, &module, &[]).map(drop)
            };
            std::thread::spawn(one_guest).join().unwrap().unwrap();
        }
        let cores = std::thread::available_parallelism().unwrap().get();
        let used = engine.pooling_allocator_metrics().unwrap().unused_warm_memories() as usize;
        assert!(used <= cores.div_ceil(CORES_PER_SHARD), "{used} slots were used, one guest at a time");
    }

    #[test]
    fn the_pool_never_comes_near_the_systems_limit_of_mappings() {
        let slots = Slots { requests: 256, activities: 256, entities: 64, turns: 64, residents: 1024 };
        assert_eq!(slots.fit(MAPPINGS_DEFAULT), slots, "the defaults fit");
        let many = Slots { residents: 100_000, ..slots }.fit(MAPPINGS_DEFAULT);
        assert!(many.total() * MAPPINGS_PER_SLOT + MAPPINGS_SPARED <= MAPPINGS_DEFAULT);
        assert_eq!((many.requests, many.activities, many.turns), (256, 256, 64), "residents go first");
        let few = slots.fit(14_000);
        assert!(few.total() * MAPPINGS_PER_SLOT + MAPPINGS_SPARED <= 14_000, "{few:?}");
        assert!(few.requests >= 4 && few.turns >= 4);
    }
}
