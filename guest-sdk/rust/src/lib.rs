//! Write Soloist functions in Rust.
//!
//! An app is a folder of functions; each function is a folder with a `function.json` that says what triggers it, and a
//! crate (`crate-type = ["cdylib"]`, target `wasm32-wasip2`) that holds its code. The attribute is all that the code needs:
//!
//! ```
//! use soloist_sdk::prelude::*;
//!
//! #[activity]
//! fn e1_say_hello(name: String) -> String {
//!     format!("Hello {name}!")
//! }
//!
//! #[orchestrator]
//! async fn e1_hello_sequence(ctx: OrchestrationContext) -> Result<Vec<String>> {
//!     Ok(vec![
//!         ctx.call_activity("E1_SayHello", "Tokyo").await?,
//!         ctx.call_activity("E1_SayHello", "Seattle").await?,
//!         ctx.call_activity("E1_SayHello", "London").await?,
//!     ])
//! }
//!
//! #[http_trigger]
//! fn http_start(req: HttpRequest, client: DurableClient) -> HttpResult {
//!     let name = req.required_param("functionName")?;
//!     let started = client.start_new(name, &req.payload()?, StartOptions::new())?.or_conflict()?;
//!     Ok(client.create_check_status_response(&req, &started.instance_id)?)
//! }
//! ```
//!
//! A crate may hold any number of functions of any kind. The host asks for a function by its folder's name, or by the
//! `entryPoint` of its `function.json`. Case, `_` and `-` do not matter: `e1_say_hello` answers to `E1_SayHello`. An
//! attribute's argument `name = "…"` gives another name.
//!
//! Parameters are told apart by their types: [`OrchestrationContext`], [`ActivityContext`], [`HttpRequest`] and
//! [`DurableClient`] are what they are, any other type is the input, read from JSON by serde. Each may be left out.
//! A function returns a value, or a `Result` of it with any standard error.
//!
//! Orchestrators are tested without a host: see [`testing`].

// The attribute macros name this crate, also within itself.
extern crate self as soloist_sdk;

mod activity;
mod bindings;
mod client;
mod failure;
// Only the host calls it.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod guest;
pub mod http;
mod json;
pub mod log;
mod orchestration;
mod registry;
pub mod testing;
mod time;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use activity::ActivityContext;
pub use bindings::soloist::functions::types::OverridableStates;
pub use client::{
    AlreadyExists, ClientError, DurableClient, ManagementUrls, OrchestrationStatus, PurgeFilter, RuntimeStatus,
    StartOutcome, Started, StatusOptions, StatusPage, StatusQuery,
};
pub use failure::{Failure, Result};
pub use http::{BadRequest, HttpError, HttpRequest, HttpResponse, HttpResult};
pub use json::Json;
pub use orchestration::{
    DetachedStart, EventWait, EventWaitWithTimeout, FireAt, OrchestrationContext, Parent, RetryPolicy, StartOptions,
    SubOrchestrationOptions, Task, TaskOptions, Timer,
};
pub use time::Timestamp;

/// Makes an `async fn` an orchestrator: `async fn(OrchestrationContext, input) -> R` or `-> Result<R, E>`.
///
/// Both parameters may be left out. An error fails the orchestration, with the error type's name as the failure's kind.
pub use soloist_sdk_macros::orchestrator;

/// Makes a function an activity: `fn(ActivityContext, input) -> R` or `-> Result<R, E>`.
///
/// All parameters may be left out; a [`DurableClient`] may be added if `function.json` binds one. An error fails the
/// activity, with the error type's name as the failure's kind.
///
/// An activity does real work: it sends requests with [`http::Client`] (or any library that speaks `wasi:http`), reads the
/// app's settings with `std::env::var`, and may block and sleep. It has no files and no sockets. One attempt may take as long
/// as `functionTimeout` in `host.json` (30 minutes by default) and [`TaskOptions::with_timeout`] allow; then it is stopped and
/// fails with the kind `Timeout`. It runs at least once: give [`ActivityContext::idempotency_key`] to services that can
/// recognise a repeated request.
pub use soloist_sdk_macros::activity;

/// Makes a function an HTTP trigger: `fn(HttpRequest, DurableClient) -> HttpResponse` or `-> Result<HttpResponse, E>`.
///
/// Both parameters may be left out. [`HttpError`] says which response an error becomes.
pub use soloist_sdk_macros::http_trigger;

/// What functions use.
pub mod prelude {
    pub use crate::log::Level;
    pub use crate::{
        ActivityContext, BadRequest, ClientError, DurableClient, Failure, HttpError, HttpRequest, HttpResponse,
        HttpResult, Json, OrchestrationContext, OverridableStates, Result, RetryPolicy, StartOptions, StartOutcome,
        SubOrchestrationOptions, TaskOptions, Timestamp, activity, http, http_trigger, log, orchestrator,
    };
}
