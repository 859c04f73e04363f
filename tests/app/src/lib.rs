//! The functions that end-to-end tests and load tools call: JSON in, JSON out, nothing that depends on anything else.
//!
//! One component holds them all; each folder beside has only a `function.json` that points here.

pub mod activities;
pub mod entities;
pub mod hostile;
pub mod http;
pub mod orchestrators;
pub mod versions;
