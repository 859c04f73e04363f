//! Activities: each returns its input, or something as simple.

use serde::{Deserialize, Serialize};
use soloist_sdk::prelude::*;
use std::time::Duration;

#[activity(name = "E1_SayHello")]
pub fn say_hello(name: String) -> String {
    format!("Hello {name}!")
}

/// Returns the token as it came.
#[activity]
pub fn echo_token(token: Json) -> Json {
    token
}

/// Returns its index.
#[activity]
pub fn chain_step(index: u32) -> u32 {
    index
}

/// Returns its index.
#[activity]
pub fn fan_out_step(index: u32) -> u32 {
    index
}

/// What [`flaky_step`] is to do.
#[derive(Deserialize, Serialize)]
pub struct FlakyStep {
    pub token: Json,
    pub fails: u32,
}

/// The token, and how many attempts it took.
#[derive(Deserialize, Serialize)]
pub struct Attempts {
    token: Json,
    attempts: u32,
}

/// Fails its first `fails` attempts. Each attempt writes `attempt <n> of <instance>` to the log.
#[activity]
pub fn flaky_step(ctx: ActivityContext, input: FlakyStep) -> Result<Attempts> {
    let attempt = ctx.attempt();
    log::info(format!("attempt {attempt} of {}", ctx.instance_id()));
    if attempt <= input.fails {
        return Err(Failure::new(format!("attempt {attempt} fails")).with_kind("Flaky"));
    }
    Ok(Attempts { token: input.token, attempts: attempt })
}

/// Sleeps this many milliseconds and returns the number.
#[activity]
pub fn sleep(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

#[derive(Deserialize)]
pub struct FetchInput {
    url: String,
    /// With a body the request is a POST.
    body: Option<String>,
    /// Bounds the request, in milliseconds.
    timeout_ms: Option<u64>,
}

#[derive(Deserialize, Serialize)]
pub struct Fetched {
    status: u16,
    body: String,
}

/// Sends a request; its idempotency key goes along.
#[activity]
pub fn fetch_url(ctx: ActivityContext, input: FetchInput) -> Result<Fetched> {
    let request = match input.body {
        Some(body) => http::post(input.url).body(body),
        None => http::get(input.url),
    };
    let request = match input.timeout_ms {
        Some(ms) => request.timeout(Duration::from_millis(ms)),
        None => request,
    };
    let response = request.header("idempotency-key", ctx.idempotency_key()).send()?;
    Ok(Fetched { status: response.status(), body: response.text() })
}

/// Asks this URL and returns what it says; anything but 200 is a failure.
#[activity]
pub fn ask(url: String) -> Result<String> {
    let response = http::get(url).send()?;
    match response.status() {
        200 => Ok(response.text()),
        status => Err(Failure::new(format!("it answered {status}")).with_kind("Unwell")),
    }
}

/// Sleeps and then sends a request: nobody sees it if the activity is stopped before.
#[activity]
pub fn sleep_then_fetch(input: SleepThenFetch) -> Result<u16> {
    std::thread::sleep(Duration::from_millis(input.ms));
    Ok(http::get(input.url).send()?.status())
}

#[derive(Deserialize, Serialize)]
pub struct SleepThenFetch {
    pub ms: u64,
    pub url: String,
}

/// What [`trial`] is to do.
#[derive(Deserialize, Serialize, Clone)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// So many attempts fail.
    pub fails: u32,
    /// With a failure of this kind.
    pub kind: String,
    #[serde(default)]
    pub non_retriable: bool,
}

/// Fails its first attempts. Each writes `trial <n> of <instance> at <Unix milliseconds>` to the log.
#[activity]
#[expect(clippy::disallowed_methods, reason = "the test reads when attempts really began")]
pub fn trial(ctx: ActivityContext, input: Trial) -> Result<u32> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
    log::info(format!("trial {} of {} at {now}", ctx.attempt(), ctx.instance_id()));
    if ctx.attempt() > input.fails {
        return Ok(ctx.attempt());
    }
    let failure = Failure::new(format!("trial {} fails", ctx.attempt())).with_kind(input.kind);
    Err(if input.non_retriable { failure.non_retriable() } else { failure })
}

/// Who asks, as the activity is told.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    name: String,
    instance_id: String,
    execution_id: String,
    sequence: u32,
    attempt: u32,
    idempotency_key: String,
    tags: Vec<(String, String)>,
}

/// What [`who_asks`] is to do.
#[derive(Deserialize, Serialize)]
pub struct WhoAsks {
    pub fails: u32,
    pub ms: u64,
}

/// Fails its first attempts and sleeps in the others; returns its context. Each run logs `asked <idempotency key>`.
#[activity]
pub fn who_asks(ctx: ActivityContext, input: WhoAsks) -> Result<Caller> {
    log::info(format!("asked {}", ctx.idempotency_key()));
    if ctx.attempt() <= input.fails {
        return Err(Failure::new("not yet"));
    }
    std::thread::sleep(Duration::from_millis(input.ms));
    Ok(Caller {
        name: ctx.name().into(),
        instance_id: ctx.instance_id().into(),
        execution_id: ctx.execution_id().into(),
        sequence: ctx.sequence(),
        attempt: ctx.attempt(),
        idempotency_key: ctx.idempotency_key().into(),
        tags: ctx.tags().map(|(key, value)| (key.into(), value.into())).collect(),
    })
}

/// Its environment, as it is.
#[activity]
pub fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars().collect()
}

/// Sends a request and follows redirects, wherever they go.
#[activity]
pub fn fetch_following(url: String) -> Result<Fetched> {
    let mut response = http::get(url).send()?;
    while let (300..400, Some(location)) = (response.status(), response.header("location")) {
        response = http::get(location).send()?;
    }
    Ok(Fetched { status: response.status(), body: response.text() })
}
