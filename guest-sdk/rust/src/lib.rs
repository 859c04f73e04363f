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
mod entity;
mod failure;
// Only the host calls it.
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
mod guest;
mod guid;
pub mod http;
mod json;
pub mod log;
mod orchestration;
mod registry;
pub mod testing;
mod time;
mod timer;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use activity::ActivityContext;
pub use bindings::soloist::functions::types::OverridableStates;
pub use client::{
    AlreadyExists, ClientError, DurableClient, EntityState, ManagementUrls, OrchestrationStatus, PurgeFilter,
    RuntimeStatus, StartOutcome, Started, StatusOptions, StatusPage, StatusQuery,
};
pub use entity::{EntityContext, EntityId};
pub use failure::{Failure, Result};
pub use http::{BadRequest, HttpError, HttpRequest, HttpResponse, HttpResult};
pub use json::Json;
pub use orchestration::{
    CriticalSection, DetachedStart, DurableHttpRequest, DurableHttpResponse, Entity, EventWait, EventWaitWithTimeout,
    FireAt, HttpCall, LockRequest, OrchestrationContext, Parent, RetryPolicy, StartOptions, SubOrchestrationOptions,
    Task, TaskOptions, Timer, TokenSource,
};
pub use time::Timestamp;
pub use timer::{ScheduleStatus, TimerInfo};

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

/// Makes a struct an entity: its methods are the operations, its serialised form is the state.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use soloist_sdk::prelude::*;
///
/// /// The state in JSON is the bare number.
/// #[derive(Default, Serialize, Deserialize)]
/// struct Counter(i64);
///
/// #[entity]
/// impl Counter {
///     fn add(&mut self, amount: i64) {
///         self.0 += amount;
///     }
///
///     fn get(&self) -> i64 {
///         self.0
///     }
///
///     fn withdraw(&mut self, ctx: EntityContext, amount: i64) -> Result<i64> {
///         self.0 -= amount;
///         if self.0 < 0 {
///             // The operation fails, and the state stays what it was before.
///             return Err(Failure::new(format!("{} has not that much", ctx.key())));
///         }
///         Ok(self.0)
///     }
/// }
/// # fn main() {
/// use soloist_sdk::testing::EntityScript;
///
/// let mut counter = EntityScript::new("Counter", "a");
/// counter.signal("add", &3).unwrap();
/// assert_eq!(counter.call::<i64>("Withdraw", &5).unwrap_err().message(), "a has not that much");
/// assert_eq!(counter.state_text(), Some("3"));
/// # }
/// ```
///
/// - An operation is called by its method's name; case, `_` and `-` do not matter. All methods with `self` in this block are
///   operations; others belong into another `impl` block.
/// - A method takes [`EntityContext`] and an input, in any order; both may be left out. It returns a value or a `Result`.
/// - `&mut self` writes the state; `&self` reads it and writes nothing, so that it does not make an entity either.
/// - An entity that does not exist yet begins with [`Default`], or with what an associated function `init` returns:
///   `fn init() -> Self`, `fn init(EntityContext) -> Result<Self>`.
/// - `delete` deletes the entity, unless there is a method of this name.
/// - An operation that fails, by `Err` or by a panic, leaves neither a changed state nor signals nor starts. Those before and
///   behind it are not touched by it.
///
/// The entity's name is that of the struct, or what `name = "…"` says.
///
/// With `proxy = StepsProxy` it also makes a struct of this name by which orchestrators of the same crate call and signal
/// the operations with their types:
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use soloist_sdk::prelude::*;
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Steps(i64);
/// #[entity(proxy = StepsProxy)]
/// impl Steps {
///     fn add(&mut self, amount: i64) -> Result<i64> {
///         self.0 += amount;
///         Ok(self.0)
///     }
/// }
///
/// #[orchestrator]
/// async fn count(ctx: OrchestrationContext) -> Result<i64> {
///     let steps = StepsProxy::new(&ctx, "ann");
///     steps.signal_add(&1)?;
///     steps.add(&2).await // an `i64`
/// }
/// # fn main() {}
/// ```
///
/// A function can be an entity, too, where the names of operations are data: it does every operation, with the state by hand.
///
/// ```
/// use soloist_sdk::prelude::*;
///
/// #[entity]
/// fn flags(ctx: EntityContext) -> Result<bool> {
///     let mut flags: Vec<String> = ctx.get_state_or(Vec::new())?;
///     let name = ctx.operation_name();
///     let is_new = !flags.contains(&name);
///     if is_new {
///         flags.push(name);
///         ctx.set_state(&flags)?;
///     }
///     Ok(is_new)
/// }
/// ```
pub use soloist_sdk_macros::entity;

/// Makes a function a timer trigger: `fn(TimerInfo, DurableClient)` or `-> Result<(), E>`.
///
/// Both parameters may be left out. It runs when the schedule of its `function.json` says so.
///
/// ```
/// use soloist_sdk::prelude::*;
///
/// #[timer_trigger]
/// fn nightly(timer: TimerInfo, client: DurableClient) -> Result<()> {
///     if timer.is_past_due() {
///         log::warn(format!("late: it was due at {}", timer.scheduled()));
///     }
///     // A live one refuses the start, so that there are never two.
///     let options = StartOptions::new().with_instance_id("nightly");
///     if let StartOutcome::AlreadyExists(existing) = client.start_new("Sync", &(), options)? {
///         log::warn(existing);
///     }
///     Ok(())
/// }
/// ```
pub use soloist_sdk_macros::timer_trigger;

/// What functions use.
pub mod prelude {
    pub use crate::log::Level;
    pub use crate::{
        ActivityContext, BadRequest, ClientError, DurableClient, DurableHttpRequest, DurableHttpResponse,
        EntityContext, EntityId, Failure, HttpError, HttpRequest, HttpResponse, HttpResult, Json, OrchestrationContext,
        OverridableStates, Result, RetryPolicy, StartOptions, StartOutcome, SubOrchestrationOptions, TaskOptions,
        TimerInfo, Timestamp, TokenSource, activity, entity, http, http_trigger, log, orchestrator, timer_trigger,
    };
}
