//! Orchestrators: small, and exact in how many steps they take.

use crate::activities::{Attempts, Caller, FlakyStep, SleepThenFetch, Trial, WhoAsks};
use crate::entities::Ended;
use futures::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use soloist_sdk::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

#[orchestrator(name = "E1_HelloSequence")]
pub async fn hello_sequence(ctx: OrchestrationContext) -> Result<Vec<String>> {
    let mut greetings = Vec::new();
    for city in ["Tokyo", "Seattle", "London"] {
        greetings.push(ctx.call_activity("E1_SayHello", city).await?);
    }
    Ok(greetings)
}

/// The token is any JSON, and comes back as it was written.
#[derive(Deserialize, Serialize)]
pub struct Token {
    token: Json,
}

/// Exactly one activity.
#[orchestrator]
pub async fn echo(ctx: OrchestrationContext, input: Token) -> Result<Token> {
    Ok(Token { token: ctx.call_activity("EchoToken", &input.token).await? })
}

#[derive(Deserialize)]
pub struct ChainInput {
    token: Json,
    steps: u32,
}

#[derive(Serialize)]
pub struct ChainOutput {
    token: Json,
    trace: Vec<u32>,
}

/// Exactly `steps` activities, one after the other.
#[orchestrator]
pub async fn chain(ctx: OrchestrationContext, input: ChainInput) -> Result<ChainOutput> {
    let mut trace = Vec::new();
    for index in 0..input.steps {
        trace.push(ctx.call_activity("ChainStep", &index).await?);
    }
    Ok(ChainOutput { token: input.token, trace })
}

#[derive(Deserialize)]
pub struct FanOutInput {
    n: u32,
}

/// `n` activities at once; returns how many answered.
#[orchestrator]
pub async fn fan_out(ctx: OrchestrationContext, input: FanOutInput) -> Result<usize> {
    let tasks = (0..input.n).map(|index| ctx.call_activity::<u32>("FanOutStep", &index));
    Ok(try_join_all(tasks).await?.len())
}

#[derive(Deserialize)]
pub struct SleepersInput {
    n: u32,
    ms: u64,
}

/// `n` activities at once that sleep `ms` milliseconds each; returns how many answered.
#[orchestrator]
pub async fn sleepers(ctx: OrchestrationContext, input: SleepersInput) -> Result<usize> {
    let tasks = (0..input.n).map(|_| ctx.call_activity::<u64>("Sleep", &input.ms));
    Ok(try_join_all(tasks).await?.len())
}

#[derive(Deserialize, Serialize)]
pub struct Collected {
    token: Json,
    /// Continue as new after every so many events; 0 is never.
    #[serde(default, skip_serializing)]
    can: usize,
    #[serde(default)]
    events: Vec<Json>,
}

/// The next execution's input: what [`Collected`] reads.
#[derive(Serialize)]
struct Collecting<'a> {
    token: &'a Json,
    can: usize,
    events: &'a [Json],
}

/// Gathers the payloads of event `Evt` in order of arrival, up to the payload `"END"`.
#[orchestrator]
pub async fn collect(ctx: OrchestrationContext, mut input: Collected) -> Result<Collected> {
    let mut received = 0;
    loop {
        let payload: Json = ctx.wait_for_event("Evt").await?;
        if payload.text() == "\"END\"" {
            return Ok(input);
        }
        input.events.push(payload);
        received += 1;
        if received == input.can {
            let Collected { token, can, events } = &input;
            return ctx.continue_as_new(&Collecting { token, can: *can, events });
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlakyInput {
    token: Json,
    /// So many attempts fail.
    fails: u32,
    /// So many attempts are made at most.
    max: u32,
    /// The first wait, in milliseconds; each further one is `coefficient` times as long.
    first_ms: u64,
    coefficient: f64,
}

/// One activity, attempted until it succeeds or may not be attempted again; returns how many attempts it took.
#[orchestrator]
pub async fn flaky(ctx: OrchestrationContext, input: FlakyInput) -> Result<Attempts> {
    let policy = RetryPolicy::new(input.max, Duration::from_millis(input.first_ms)).with_backoff(input.coefficient);
    let step = FlakyStep { token: input.token, fails: input.fails };
    ctx.call_activity_with_retry("FlakyStep", &step, policy).await
}

#[derive(Deserialize)]
pub struct ProgressInput {
    steps: u32,
}

/// Sets its custom status to `{"done":n,"of":steps}` and waits for event `Next`, `steps` times.
#[orchestrator]
pub async fn progress(ctx: OrchestrationContext, input: ProgressInput) -> Result<u32> {
    let set = |done: u32| ctx.set_custom_status(&serde_json::json!({ "done": done, "of": input.steps }));
    for done in 0..input.steps {
        set(done)?;
        ctx.wait_for_event::<Json>("Next").await?;
    }
    set(input.steps)?;
    Ok(input.steps)
}

#[derive(Deserialize, Serialize)]
pub struct TimerInput {
    token: Json,
    ms: u64,
}

/// One durable timer.
#[orchestrator]
pub async fn timer(ctx: OrchestrationContext, input: TimerInput) -> TimerInput {
    ctx.create_timer(Duration::from_millis(input.ms)).await;
    input
}

/// Returns the payload of event `Approval` as it was written.
#[orchestrator]
pub async fn wait_for_approval(ctx: OrchestrationContext) -> Result<Json> {
    ctx.wait_for_event("Approval").await
}

#[orchestrator]
pub async fn always_fails() -> Result<()> {
    Err(Failure::new("this orchestration always fails").with_kind("AlwaysFails"))
}

#[orchestrator]
pub async fn noop() {}

/// One request by an activity: `{"url": U}` gives `{"status", "body"}`.
#[orchestrator]
pub async fn fetch(ctx: OrchestrationContext, input: Json) -> Result<Json> {
    ctx.call_activity("FetchUrl", &input).await
}

#[derive(Deserialize)]
pub struct TimeoutsInput {
    /// How long the activity sleeps.
    ms: u64,
    /// How long it may take.
    timeout_ms: u64,
    #[serde(default = "one")]
    attempts: u32,
    /// Called after the sleep, if it comes to that; otherwise the activity only sleeps.
    url: Option<String>,
    /// The activity, if it is another one.
    activity: Option<String>,
}

fn one() -> u32 {
    1
}

#[derive(Serialize)]
pub struct TimeoutsOutput {
    kind: String,
    message: String,
}

/// An activity that may be too slow: what it failed with, or kind `None`.
#[orchestrator]
pub async fn timeouts(ctx: OrchestrationContext, input: TimeoutsInput) -> TimeoutsOutput {
    let options = TaskOptions::new()
        .with_timeout(Duration::from_millis(input.timeout_ms))
        .with_retry(RetryPolicy::new(input.attempts, Duration::from_millis(10)));
    let ended: Result<Json> = match input.url {
        Some(url) => {
            let input = SleepThenFetch { ms: input.ms, url };
            ctx.call_activity_with_options("SleepThenFetch", &input, options).await
        }
        None => {
            let activity = input.activity.as_deref().unwrap_or("Sleep");
            ctx.call_activity_with_options(activity, &input.ms, options).await
        }
    };
    match ended {
        Ok(_) => TimeoutsOutput { kind: "None".into(), message: String::new() },
        Err(failure) => TimeoutsOutput { kind: failure.kind().into(), message: failure.message().into() },
    }
}

/// An orchestrator that sends a request itself, which none may.
#[orchestrator]
pub async fn fetch_itself(_ctx: OrchestrationContext, input: FetchItself) -> Result<u16> {
    Ok(http::get(input.url).send()?.status())
}

#[derive(Deserialize)]
pub struct FetchItself {
    url: String,
}

/// Waits for ten years.
#[orchestrator]
pub async fn eternal(ctx: OrchestrationContext) {
    ctx.create_timer(Duration::from_hours(10 * 365 * 24)).await;
}

#[derive(Deserialize)]
pub struct AsksInput {
    urls: Vec<String>,
    /// How often each is asked at most, a tenth of a second apart.
    #[serde(default = "one")]
    attempts: u32,
}

/// Asks all URLs at once and waits for all; then fails if one failed.
#[orchestrator]
pub async fn asks(ctx: OrchestrationContext, input: AsksInput) -> Result<Vec<String>> {
    let policy = RetryPolicy::new(input.attempts, Duration::from_millis(100));
    let asked = input.urls.iter().map(|url| ctx.call_activity_with_retry("Ask", url, policy.clone()));
    join_all(asked).await.into_iter().collect()
}

#[derive(Deserialize)]
pub struct BranchesInput {
    /// What each branch asks, one after the other.
    branches: Vec<Vec<String>>,
    /// The counter that is told that all branches are done.
    counter: String,
}

/// Branches, each of which asks its URLs one after the other and ends at the first failure. All are waited for; then a counter
/// is signaled, and one that failed fails the whole.
#[orchestrator]
pub async fn branches(ctx: OrchestrationContext, input: BranchesInput) -> Result<Vec<Vec<String>>> {
    let branch = async |urls: &Vec<String>| {
        let mut answers = Vec::new();
        for url in urls {
            answers.push(ctx.call_activity::<String>("Ask", url).await?);
        }
        Ok(answers)
    };
    let ended = join_all(input.branches.iter().map(branch)).await;
    ctx.entity("Counter", input.counter).signal("add", &1)?;
    ended.into_iter().collect()
}

/// Starts itself as its child, so deep; the innermost waits for event `Go`. Returns how deep it is.
#[orchestrator]
pub async fn nest(ctx: OrchestrationContext, depth: u64) -> Result<u64> {
    if depth > 0 {
        return Ok(ctx.call_sub_orchestration::<u64>("Nest", &(depth - 1)).await? + 1);
    }
    ctx.wait_for_event::<Json>("Go").await?;
    Ok(0)
}

#[derive(Deserialize)]
pub struct ParentInput {
    /// The child's orchestrator function, its inputs, and the id of its first instance if that is to be chosen.
    child: String,
    inputs: Vec<Json>,
    id: Option<String>,
    /// How often a child is tried, a tenth of a second apart.
    attempts: Option<u32>,
}

/// One child per input, at once; the outputs in that order.
#[orchestrator]
pub async fn parent(ctx: OrchestrationContext, input: ParentInput) -> Result<Vec<Json>> {
    let children = input.inputs.iter().enumerate().map(|(n, of_child)| {
        let mut options = SubOrchestrationOptions::new();
        if let (0, Some(id)) = (n, &input.id) {
            options = options.with_instance_id(id.clone());
        }
        if let Some(attempts) = input.attempts {
            options = options.with_retry(RetryPolicy::new(attempts, Duration::from_millis(100)));
        }
        ctx.call_sub_orchestration_with_options(&input.child, of_child, options)
    });
    try_join_all(children).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallHttpInput {
    #[serde(default = "get")]
    method: String,
    uri: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    content: Option<String>,
    /// Whether to follow a 202.
    asynchronous_pattern: Option<bool>,
    timeout_ms: Option<u64>,
    /// So many requests are made at most, a tenth of a second apart.
    attempts: Option<u32>,
    #[serde(default)]
    status_codes: Vec<u16>,
    /// The resource of a token of `AzureManagedIdentity`.
    resource: Option<String>,
}

fn get() -> String {
    "GET".into()
}

/// A durable HTTP call: `{"statusCode","headers","content"}`, or `{"kind","message"}` if it failed.
#[orchestrator]
pub async fn call_http(ctx: OrchestrationContext, input: CallHttpInput) -> Ended {
    let mut request = DurableHttpRequest::new(input.method, input.uri).retry_on(input.status_codes);
    for (name, value) in input.headers {
        request = request.header(name, value);
    }
    if let Some(content) = input.content {
        request = request.content(content);
    }
    if input.asynchronous_pattern == Some(false) {
        request = request.without_polling();
    }
    if let Some(ms) = input.timeout_ms {
        request = request.timeout(Duration::from_millis(ms));
    }
    if let Some(attempts) = input.attempts {
        request = request.retry(RetryPolicy::new(attempts, Duration::from_millis(100)));
    }
    if let Some(resource) = input.resource {
        request = request.token_source(TokenSource::managed_identity(resource));
    }
    let answered = async { Ok(Json::encode(&ctx.call_http(request).await?)?) };
    answered.await.into()
}

#[derive(Deserialize)]
pub struct SendEventInput {
    instance: String,
    name: String,
    payload: Json,
    #[serde(default = "one")]
    times: u32,
}

/// Raises an event at another instance, `times` times.
#[orchestrator]
pub async fn send_event(ctx: OrchestrationContext, input: SendEventInput) -> Result<()> {
    for _ in 0..input.times {
        ctx.send_event(&input.instance, &input.name, &input.payload)?;
    }
    Ok(())
}

/// Starts `Noop` under the id that is its input, without waiting for its end; returns the id that it was told.
#[orchestrator]
pub async fn detaches(ctx: OrchestrationContext, id: String) -> Result<String> {
    ctx.start_orchestration("Noop", &(), StartOptions::new().with_instance_id(id)).await
}

#[derive(Serialize)]
pub struct Entry {
    guids: [String; 2],
    time: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diary {
    instance_id: String,
    name: String,
    version: Option<String>,
    parent: Option<String>,
    entries: Vec<Entry>,
    /// How many entries this guest wrote while it replayed.
    replayed: u32,
    is_replaying: bool,
}

/// Writes an entry, shows all of them as its custom status and waits for event `Next`, three times.
///
/// Each entry is logged as `entry <n> of <instance>`.
#[orchestrator]
pub async fn diary(ctx: OrchestrationContext) -> Result<Diary> {
    let (mut entries, mut replayed) = (Vec::new(), 0);
    for number in 0..3 {
        ctx.log(Level::Info, format!("entry {number} of {}", ctx.instance_id()));
        replayed += u32::from(ctx.is_replaying());
        entries.push(Entry { guids: [ctx.new_guid(), ctx.new_guid()], time: ctx.current_time() });
        ctx.set_custom_status(&entries)?;
        ctx.wait_for_event::<Json>("Next").await?;
    }
    Ok(Diary {
        instance_id: ctx.instance_id(),
        name: ctx.name(),
        version: ctx.version(),
        parent: ctx.parent().map(|parent| parent.instance_id),
        entries,
        replayed,
        is_replaying: ctx.is_replaying(),
    })
}

#[derive(Deserialize)]
pub struct StatusInput {
    text: String,
    times: usize,
}

/// Sets its custom status to a text, repeated.
#[orchestrator]
pub async fn sets_status(ctx: OrchestrationContext, input: StatusInput) -> Result<()> {
    ctx.set_custom_status(&input.text.repeat(input.times))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialsInput {
    trial: Trial,
    max: u32,
    first_ms: u64,
    /// A text, for JSON has no infinity.
    coefficient: Option<String>,
    max_interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    only: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    /// After each failed call the next, with a policy of its own: so many.
    #[serde(default)]
    again: u32,
}

/// One `Trial` under any policy.
#[orchestrator]
pub async fn trials(ctx: OrchestrationContext, input: TrialsInput) -> Result<u32> {
    let mut policy = RetryPolicy::new(input.max, Duration::from_millis(input.first_ms));
    if let Some(coefficient) = input.coefficient {
        policy = policy.with_backoff(coefficient.parse()?);
    }
    if let Some(ms) = input.max_interval_ms {
        policy = policy.with_max_interval(Duration::from_millis(ms));
    }
    if let Some(ms) = input.timeout_ms {
        policy = policy.with_timeout(Duration::from_millis(ms));
    }
    policy = input.only.into_iter().fold(policy, RetryPolicy::only_kind);
    policy = input.except.into_iter().fold(policy, RetryPolicy::except_kind);
    for _ in 0..input.again {
        if let Ok(attempts) = ctx.call_activity_with_retry("Trial", &input.trial, policy.clone()).await {
            return Ok(attempts);
        }
    }
    ctx.call_activity_with_retry("Trial", &input.trial, policy).await
}

/// Calls `WhoAsks` once, and then once with an attempt that fails; returns both contexts.
#[orchestrator]
pub async fn callers(ctx: OrchestrationContext, ms: u64) -> Result<Vec<Caller>> {
    let first = ctx.call_activity_with_options(
        "WhoAsks",
        &WhoAsks { fails: 0, ms },
        TaskOptions::new().with_tag("colour", "blue"),
    );
    let first = first.await?;
    let policy = RetryPolicy::new(2, Duration::from_millis(10));
    let second = ctx.call_activity_with_retry("WhoAsks", &WhoAsks { fails: 1, ms: 0 }, policy).await?;
    Ok(vec![first, second])
}

/// Calls an activity without input: `Environment`.
#[orchestrator]
pub async fn environment_of_an_activity(ctx: OrchestrationContext) -> Result<Json> {
    ctx.call_activity("Environment", &()).await
}

/// Sends a request that follows redirects.
#[orchestrator]
pub async fn fetch_redirected(ctx: OrchestrationContext, url: String) -> Result<Json> {
    ctx.call_activity("FetchFollowing", &url).await
}

/// Completes or fails as the payload of event `Decision` says.
#[orchestrator]
pub async fn decides(ctx: OrchestrationContext) -> Result<String> {
    if ctx.wait_for_event::<bool>("Decision").await? {
        Ok(ctx.execution_id())
    } else {
        Err(Failure::new("decided against").with_kind("Against"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchedulesInput {
    id: String,
    in_ms: u64,
}

/// Starts `WaitForApproval` under an id, later, and does not wait for it.
#[orchestrator]
pub async fn schedules(ctx: OrchestrationContext, input: SchedulesInput) -> Result<String> {
    let at = ctx.current_time() + Duration::from_millis(input.in_ms);
    let options = StartOptions::new().with_instance_id(input.id).scheduled_at(at);
    ctx.start_orchestration("WaitForApproval", &(), options).await
}

/// Waits for event `A` up to so many milliseconds; then for event `B`, without end.
#[orchestrator]
pub async fn patience(ctx: OrchestrationContext, ms: u64) -> Result<(Option<Json>, Json)> {
    let first = ctx.wait_for_event_with_timeout("A", Duration::from_millis(ms)).await?;
    Ok((first, ctx.wait_for_event("B").await?))
}

/// Continues as new once, with events `A` unreceived and a custom status set; then returns what there is of `A`.
#[orchestrator]
pub async fn hands_over(ctx: OrchestrationContext, input: Option<u32>) -> Result<Vec<Json>> {
    let Some(events) = input else {
        ctx.set_custom_status("set by the first")?;
        let events: u32 = ctx.wait_for_event("B").await?;
        return ctx.continue_as_new(&events);
    };
    let mut received = Vec::new();
    for _ in 0..events {
        received.push(ctx.wait_for_event("a").await?);
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use soloist_sdk::testing::{Action, Outcome, Script};

    fn json(text: &str) -> Json {
        Json::from_text(text).unwrap()
    }

    /// Runs an orchestrator whose activities return their inputs.
    fn run(function: &str, input: &str) -> (String, usize) {
        let mut activities = 0;
        let script = Script::run(function, &json(input), |_activity, input| {
            activities += 1;
            Ok(input)
        });
        (script.output::<Json>().into_text(), activities)
    }

    #[test]
    fn outputs_and_numbers_of_activities_are_as_documented() {
        let token = r#"{"b": [1.0], "a": 12345678901234567890123}"#;
        let tokened = format!(r#"{{"token":{token}}}"#);
        assert_eq!(run("Echo", &tokened), (tokened, 1));
        let chain = format!(r#"{{"token":{token},"steps":3}}"#);
        assert_eq!(run("Chain", &chain), (format!(r#"{{"token":{token},"trace":[0,1,2]}}"#), 3));
        assert_eq!(run("Chain", r#"{"token":1,"steps":0}"#), (r#"{"token":1,"trace":[]}"#.into(), 0));
        assert_eq!(run("FanOut", r#"{"n":100}"#), ("100".into(), 100));
        assert_eq!(run("Sleepers", r#"{"n":3,"ms":10}"#), ("3".into(), 3));
        assert_eq!(run("Timer", r#"{"token":"t","ms":250}"#), (r#"{"token":"t","ms":250}"#.into(), 0));
        assert_eq!(run("Noop", "null"), ("null".into(), 0));
    }

    #[test]
    fn collect_gathers_events_up_to_the_end() {
        let mut script = Script::start("Collect", &json(r#"{"token":"t"}"#));
        script.raise("Evt", &json("1.0")).raise("evt", &json(r#"{"x": "END"}"#)).raise("EVT", &"END");
        assert_eq!(script.output::<Json>().text(), r#"{"token":"t","events":[1.0,{"x": "END"}]}"#);
    }

    #[test]
    fn collect_continues_as_new_and_keeps_what_it_has() {
        let mut script = Script::start("Collect", &json(r#"{"token":"t","can":2}"#));
        script.raise("Evt", &1).raise("Evt", &2);
        let Outcome::ContinueAsNew(next) = script.outcome() else { panic!("{:?}", script.outcome()) };
        assert_eq!(next.input, r#"{"token":"t","can":2,"events":[1,2]}"#);
        let mut script = Script::start("Collect", &json(&next.input));
        script.raise("Evt", &"END");
        assert_eq!(script.output::<Json>().text(), r#"{"token":"t","events":[1,2]}"#);
    }

    #[test]
    fn flaky_leaves_the_attempts_to_the_host() {
        let input = r#"{"token":"t","fails":1,"max":3,"firstMs":250,"coefficient":2}"#;
        let mut script = Script::start("Flaky", &json(input));
        let actions = script.take_actions();
        let [Action::ScheduleTask(task)] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!((task.name.as_str(), task.input.as_str()), ("FlakyStep", r#"{"token":"t","fails":1}"#));
        let retry = task.retry.as_ref().unwrap();
        assert_eq!((retry.max_attempts, retry.first_interval, retry.backoff_coefficient), (3, 250.0, 2.0));
        script.complete(0, &json(r#"{"token":"t","attempts":2}"#));
        assert_eq!(script.output::<Json>().text(), r#"{"token":"t","attempts":2}"#);
    }

    #[test]
    fn progress_tells_how_far_it_is() {
        let mut script = Script::start("Progress", &json(r#"{"steps":2}"#));
        script.raise("Next", &1).raise("Next", &2);
        let told = script.take_actions().into_iter().filter_map(|action| match action {
            Action::SetCustomStatus(status) => Some(status),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told, [r#"{"done":0,"of":2}"#, r#"{"done":1,"of":2}"#, r#"{"done":2,"of":2}"#]);
        assert_eq!(script.output::<u32>(), 2);
    }

    #[test]
    fn requests_and_events_are_handed_to_the_host() {
        let input = json(r#"{"uri":"https://a.example/","attempts":2,"statusCodes":[503]}"#);
        let mut script = Script::start("CallHttp", &input);
        script.complete(0, &DurableHttpResponse::for_test(503, "busy").with_header("Retry-After", "1"));
        let answer = r#"{"statusCode":503,"headers":{"retry-after":"1"},"content":"busy"}"#;
        assert_eq!(script.output::<Json>().text(), answer);
        let mut script = Script::start("CallHttp", &input);
        script.fail(0, Failure::new("no").with_kind("Timeout"));
        assert_eq!(script.output::<Json>().text(), r#"{"kind":"Timeout","message":"no"}"#);
        let script = Script::start("SendEvent", &json(r#"{"instance":"i","name":"Go","payload":[1.0],"times":2}"#));
        let [Action::SendEvent(first), Action::SendEvent(_)] = script.actions() else {
            panic!("{:?}", script.actions())
        };
        assert_eq!((first.instance_id.as_str(), first.name.as_str(), first.input.as_str()), ("i", "Go", "[1.0]"));
    }

    #[test]
    fn an_approval_comes_back_as_it_was_written() {
        let mut script = Script::start("WaitForApproval", &json("[5]"));
        script.raise("approval", &json(r#"{"by": "me", "n": 1e2}"#));
        assert_eq!(script.output::<Json>().text(), r#"{"by": "me", "n": 1e2}"#);
    }

    #[test]
    fn always_fails_always_fails() {
        let failure = Script::start("AlwaysFails", &json("{}")).failure();
        assert_eq!((failure.kind(), failure.message()), ("AlwaysFails", "this orchestration always fails"));
    }
}
