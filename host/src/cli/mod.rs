//! The commands of the `soloist` binary. They are front doors: what they do lives elsewhere, but for building an app,
//! which is about cargo and nothing else.

pub mod build;
mod toolchain;
