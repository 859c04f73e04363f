//! Orchestrators: `async fn`s whose every step is durable.
//!
//! The code's futures live in the guest's memory. The host hands over events that have become final, the [`executor`]
//! applies them one by one and runs the code as far as it goes after each, and what the code asked for meanwhile is handed
//! back as actions. Replay is the same thing with a longer list of events, so it is invisible to the code.
//!
//! - [`context`]: what the code may ask for; [`options`]: how it words the request
//! - [`task`]: the futures that it awaits; [`entities`]: calls of entities and their locks, by the rules of [`section`];
//!   [`http`]: durable HTTP
//! - [`state`]: numbers, open tasks and recorded actions of one execution; [`mailbox`]: its external events
//! - [`executor`]: applies events and runs the code

mod context;
mod entities;
#[cfg(test)]
mod entity_tests;
pub(crate) mod executor;
mod http;
mod mailbox;
mod options;
mod section;
mod state;
mod task;
#[cfg(test)]
mod tests;

pub use context::{OrchestrationContext, Parent};
pub use entities::{CriticalSection, Entity, LockRequest};
pub use http::{DurableHttpRequest, DurableHttpResponse, HttpCall, TokenSource};
pub use options::{FireAt, RetryPolicy, StartOptions, SubOrchestrationOptions, TaskOptions};
pub use task::{DetachedStart, EventWait, EventWaitWithTimeout, Task, Timer};
