//! Soloist: durable functions as sandboxed WebAssembly components, in one binary.
//!
//! The map of the modules and their rules is `docs/architecture.md`.

pub mod durable;
pub mod hub;
pub mod storage;
pub mod wasm;
