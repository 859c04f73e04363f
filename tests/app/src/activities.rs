//! Activities: each returns its input, or something as simple.

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

/// Sleeps this many milliseconds and returns the number.
#[activity]
pub fn sleep(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}
