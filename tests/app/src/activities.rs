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
