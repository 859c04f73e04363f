//! What `wit-bindgen` makes of the contract in `wit/`.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "functions",
    additional_derives: [PartialEq],
    generate_all,
});

// Outside of wasm nobody calls the exports, and a test binary could not link their names.
#[cfg(target_arch = "wasm32")]
export!(Component with_types_in self);
#[cfg(target_arch = "wasm32")]
use crate::guest::Component;
