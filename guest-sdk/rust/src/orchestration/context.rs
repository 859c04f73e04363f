//! What an orchestrator may ask for.

use super::mailbox::WaitId;
use super::options::{FireAt, RetryPolicy, StartOptions, SubOrchestrationOptions, TaskOptions};
use super::state::Kind;
use super::task::{DetachedStart, EventWait, EventWaitWithTimeout, Shared, Task, Timer};
use crate::bindings::exports::soloist::functions::orchestrator as wit;
use crate::failure::{Failure, Result};
use crate::json::{self, Json};
use crate::log::{self, Level};
use crate::time::{Timestamp, millis};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;
use std::rc::Rc;

/// An orchestrator's way to the world: everything that it does and learns goes through here.
///
/// Code that runs again from its history must decide the same way again. It may therefore use only what comes from here,
/// from its input and from the results of its tasks: no clock, no random numbers, no input and output of its own.
///
/// ```
/// use soloist_sdk::prelude::*;
///
/// #[orchestrator]
/// async fn order(ctx: OrchestrationContext, item: String) -> Result<String> {
///     let invoice: u32 = ctx.call_activity("Charge", &item).await?;
///     ctx.set_custom_status("charged")?;
///     ctx.call_activity("Ship", &(item, invoice)).await
/// }
/// ```
#[derive(Clone)]
pub struct OrchestrationContext {
    pub(super) state: Shared,
}

/// The orchestration that started this one as its child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The parent's orchestrator function.
    pub name: String,
    /// The parent's instance id.
    pub instance_id: String,
    /// The parent's execution id.
    pub execution_id: String,
}

/// Tasks. Each takes a number when it is made, so the order of these calls must not depend on chance.
impl OrchestrationContext {
    /// Runs an activity; `.await` gives its result.
    /// # Errors
    /// The task fails with the activity's failure, and with kind `InvalidPayload` if the input or the result does not fit.
    pub fn call_activity<T: DeserializeOwned>(&self, name: &str, input: &(impl Serialize + ?Sized)) -> Task<T> {
        self.call_activity_with_options(name, input, TaskOptions::new())
    }

    /// Runs an activity and repeats it as the policy says; `.await` gives the result of the attempt that succeeds.
    /// # Errors
    /// The task fails with the last attempt's failure.
    pub fn call_activity_with_retry<T: DeserializeOwned>(
        &self,
        name: &str,
        input: &(impl Serialize + ?Sized),
        policy: RetryPolicy,
    ) -> Task<T> {
        self.call_activity_with_options(name, input, TaskOptions::new().with_retry(policy))
    }

    /// Runs an activity with options.
    /// # Errors
    /// As [`Self::call_activity`].
    pub fn call_activity_with_options<T: DeserializeOwned>(
        &self,
        name: &str,
        input: &(impl Serialize + ?Sized),
        options: TaskOptions,
    ) -> Task<T> {
        let input = match json::encode(input, || format!("the input of activity '{name}'")) {
            Ok(input) => input,
            Err(failure) => return Task::refused(failure),
        };
        let sequence = self.state.borrow_mut().open_task(Kind::Activity, |sequence| {
            wit::Action::ScheduleTask(wit::ScheduleTask {
                sequence,
                name: name.to_owned(),
                input,
                retry: options.retry.map(|policy| policy.0),
                timeout: options.timeout.map(millis),
                tags: options.tags,
            })
        });
        Task::open(self.state.clone(), sequence, name)
    }

    /// Runs another orchestration as this one's child; `.await` gives its output.
    /// # Errors
    /// The task fails if the child fails, is terminated or cannot be started, and inside of a [critical section](Self::lock).
    pub fn call_sub_orchestration<T: DeserializeOwned>(
        &self,
        name: &str,
        input: &(impl Serialize + ?Sized),
    ) -> Task<T> {
        self.call_sub_orchestration_with_options(name, input, SubOrchestrationOptions::new())
    }

    /// Runs another orchestration as this one's child, under an instance id of its own choice, with retries and so on.
    /// # Errors
    /// As [`Self::call_sub_orchestration`].
    pub fn call_sub_orchestration_with_options<T: DeserializeOwned>(
        &self,
        name: &str,
        input: &(impl Serialize + ?Sized),
        options: SubOrchestrationOptions,
    ) -> Task<T> {
        let input = json::encode(input, || format!("the input of sub-orchestration '{name}'"));
        let allowed = self.state.borrow().section.check_sub_orchestration();
        let input = match allowed.and(input) {
            Ok(input) => input,
            Err(failure) => return Task::refused(failure),
        };
        let sequence = self.state.borrow_mut().open_task(Kind::SubOrchestration, |sequence| {
            wit::Action::CreateSubOrchestration(wit::CreateSubOrchestration {
                sequence,
                name: name.to_owned(),
                instance_id: options.instance_id,
                input,
                version: options.version,
                retry: options.retry.map(|policy| policy.0),
                overridable_states: options.overridable_states,
                tags: options.tags,
            })
        });
        Task::open(self.state.clone(), sequence, name)
    }

    /// Starts another orchestration that runs by itself. Need not be awaited; `.await` gives its instance id.
    /// # Errors
    /// The future fails if the start is refused, for example because the instance exists.
    pub fn start_orchestration(
        &self,
        name: &str,
        input: &(impl Serialize + ?Sized),
        options: StartOptions,
    ) -> DetachedStart {
        let input = match json::encode(input, || format!("the input of orchestration '{name}'")) {
            Ok(input) => input,
            Err(failure) => return DetachedStart::refused(failure),
        };
        let sequence = self.state.borrow_mut().open_task(Kind::DetachedStart, |sequence| {
            wit::Action::StartOrchestration(wit::StartOrchestration {
                sequence,
                name: name.to_owned(),
                instance_id: options.instance_id,
                input,
                version: options.version,
                scheduled_start: options.scheduled_start.map(Timestamp::as_millis),
                overridable_states: options.overridable_states,
                tags: options.tags,
            })
        });
        DetachedStart::open(self.state.clone(), sequence)
    }

    /// Arms a durable timer: at a [`Timestamp`], or after a [`std::time::Duration`]. It outlives the process, and never
    /// fires early.
    pub fn create_timer(&self, fire_at: impl Into<FireAt>) -> Timer {
        let fire_at = fire_at.into().counted_from(self.current_time());
        let sequence = self.state.borrow_mut().open_task(Kind::Timer, |sequence| {
            wit::Action::CreateTimer(wit::CreateTimer { sequence, fire_at: fire_at.as_millis() })
        });
        Timer::open(self.state.clone(), sequence)
    }
}

/// External events.
impl OrchestrationContext {
    /// Waits for an external event. Names compare without regard to case.
    ///
    /// Events that arrive before anyone waits are kept in order; of several waits for one name the first gets the first.
    /// # Errors
    /// The wait fails with kind `InvalidPayload` if the payload is not a `T`; the event is received all the same.
    pub fn wait_for_event<T: DeserializeOwned>(&self, name: &str) -> EventWait<T> {
        let (key, wait): (Rc<str>, WaitId) = {
            let mut state = self.state.borrow_mut();
            // Told even if the event is there already: actions must not depend on when events arrive.
            state.record(wit::Action::WaitForEvent(wit::WaitForEvent { name: name.to_owned() }));
            state.mailbox.wait(name)
        };
        EventWait::open(self.state.clone(), key, wait)
    }

    /// Waits for an external event up to a time (or for a duration); `None` says that the time was over first.
    ///
    /// It arms a timer, which is cancelled when the event arrives.
    /// # Errors
    /// As [`Self::wait_for_event`].
    pub fn wait_for_event_with_timeout<T: DeserializeOwned>(
        &self,
        name: &str,
        timeout: impl Into<FireAt>,
    ) -> EventWaitWithTimeout<T> {
        let event = self.wait_for_event(name);
        EventWaitWithTimeout::new(event, self.create_timer(timeout))
    }

    /// Raises an external event at another instance, and does not wait for it. An instance that does not exist or has ended
    /// gets none; nobody is told.
    /// # Errors
    /// Kind `InvalidPayload` if the payload cannot be written as JSON.
    pub fn send_event(&self, instance_id: &str, name: &str, payload: &(impl Serialize + ?Sized)) -> Result<()> {
        let input = json::encode(payload, || format!("the payload of event '{name}'"))?;
        self.state.borrow_mut().record_numbered(|sequence| {
            wit::Action::SendEvent(wit::SendEvent {
                sequence,
                instance_id: instance_id.to_owned(),
                name: name.to_owned(),
                input,
            })
        });
        Ok(())
    }
}

/// The execution itself.
impl OrchestrationContext {
    /// Ends this execution and begins a fresh one: same instance id, new input, empty history. Return what it returns:
    ///
    /// ```
    /// use soloist_sdk::prelude::*;
    ///
    /// #[orchestrator]
    /// async fn countdown(ctx: OrchestrationContext, left: u32) -> Result<()> {
    ///     ctx.create_timer(std::time::Duration::from_secs(1)).await;
    ///     if left == 0 { Ok(()) } else { ctx.continue_as_new(&(left - 1)) }
    /// }
    /// ```
    ///
    /// Tasks that are open are given up; external events that were not received are carried over.
    /// # Errors
    /// Always: the error *is* the request, so that `?` ends the function too. It has no effect unless it is returned.
    pub fn continue_as_new<T>(&self, input: &(impl Serialize + ?Sized)) -> Result<T> {
        Err(Failure::continue_as_new(Json::encode(input)?))
    }

    /// Replaces the custom status that status queries show: any JSON of at most 16 KB in UTF-16.
    /// # Errors
    /// If the value cannot be written as JSON.
    pub fn set_custom_status(&self, status: &(impl Serialize + ?Sized)) -> Result<()> {
        let status = json::encode(status, || "the custom status".into())?;
        self.state.borrow_mut().record(wit::Action::SetCustomStatus(status));
        Ok(())
    }

    /// A new GUID, the same ones in the same order in every replay of this execution.
    pub fn new_guid(&self) -> String {
        self.state.borrow_mut().new_guid()
    }

    /// The orchestrator's clock: when the present turn began. It stands still between two awaits that return.
    pub fn current_time(&self) -> Timestamp {
        self.state.borrow().now
    }

    /// The orchestrator function's name, as the start gave it.
    pub fn name(&self) -> String {
        self.state.borrow().facts.started.name.clone()
    }

    /// The instance id.
    pub fn instance_id(&self) -> String {
        self.state.borrow().facts.instance_id.clone()
    }

    /// Names this run of the instance: new with each start, restart and continue-as-new.
    pub fn execution_id(&self) -> String {
        self.state.borrow().facts.execution_id.clone()
    }

    /// The version label given at the start.
    pub fn version(&self) -> Option<String> {
        self.state.borrow().facts.started.version.clone()
    }

    /// The labels given at the start, as pairs of key and value.
    pub fn tags(&self) -> Vec<(String, String)> {
        self.state.borrow().facts.started.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
    }

    /// The parent, for a sub-orchestration.
    pub fn parent(&self) -> Option<Parent> {
        self.state.borrow().facts.started.parent.as_ref().map(|parent| Parent {
            name: parent.name.clone(),
            instance_id: parent.instance_id.clone(),
            execution_id: parent.execution_id.clone(),
        })
    }

    /// The input; the same as the function's input parameter.
    /// # Errors
    /// Kind `InvalidPayload` if it is not a `T`.
    pub fn input<T: DeserializeOwned>(&self) -> Result<T> {
        let state = self.state.borrow();
        let started = &state.facts.started;
        json::decode(&started.input, || format!("the input of orchestrator '{}'", started.name))
    }

    /// True while the code runs again over what has happened before. For side effects like logs only: a decision that
    /// depends on it breaks replay.
    pub fn is_replaying(&self) -> bool {
        self.state.borrow().replaying
    }

    /// Writes a line to the host's log, unless the code is replaying.
    pub fn log(&self, level: Level, message: impl Display) {
        if !self.is_replaying() {
            log::write(level, message);
        }
    }

    pub(super) fn new(state: Shared) -> Self {
        Self { state }
    }
}
