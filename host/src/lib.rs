//! Soloist: durable functions as sandboxed WebAssembly components, in one binary.
//!
//! The map of the modules and their rules is `docs/architecture.md`.

#[macro_use]
#[doc(hidden)]
pub mod planted;

pub mod ambient;
pub mod app;
pub mod cli;
pub mod durable;
pub mod flight;
pub mod host;
pub mod hub;
pub mod memory;
pub mod server;
pub mod storage;
pub mod telemetry;
pub mod wasm;
