//! Soloist: durable functions as sandboxed WebAssembly components, in one binary.
//!
//! The map of the modules and their rules is `docs/architecture.md`.

#[macro_use]
#[doc(hidden)]
pub mod planted;

/// What allocates in every program that links the host. With the C library's allocator, held to two arenas so that it needs no
/// more memory than this, four futex calls in ten under load were threads that waited for each other in it.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's settings, which it looks for under this name: few arenas, and unused memory is given back after a second, for
/// the sake of hosts that wait; larger blocks are kept per thread than by default, as guests and tasks take many.
#[cfg(not(target_env = "msvc"))]
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_SETTINGS: Settings =
    Settings(c"narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0,tcache_max:32768".as_ptr());

pub mod ambient;
pub mod app;
pub mod cli;
pub mod durable;
pub mod flight;
pub mod host;
pub mod hub;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod wasm;

/// A C string that never changes.
#[cfg(not(target_env = "msvc"))]
#[repr(transparent)]
struct Settings(*const std::ffi::c_char);

// SAFETY: it points to a constant.
#[cfg(not(target_env = "msvc"))]
unsafe impl Sync for Settings {}
