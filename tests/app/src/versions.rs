//! An orchestrator whose code a test can change without a compiler: what it does is in one text, which stands in the component's
//! file as it is here, and another text of the same length may take its place.

use soloist_sdk::prelude::*;
use std::hint::black_box;

/// What it returns, the activity that it calls, and how long it computes first (in millions of rounds of a loop).
static CODE: &str = "soloist test code: text=one step=VersionA spin=0000";

fn part(name: &str) -> &'static str {
    let code: &'static str = black_box(CODE);
    let part = code.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    part.expect("every part is in the text")
}

/// Calls an activity, waits for the events `Go` and `End`, and returns a text.
#[orchestrator]
pub async fn versioned(ctx: OrchestrationContext) -> Result<String> {
    let rounds: u64 = part("spin").parse().expect("a number");
    (0..rounds * 1_000_000).for_each(|round| {
        black_box(round);
    });
    ctx.call_activity::<String>(part("step"), "the same input").await?;
    ctx.wait_for_event::<Json>("Go").await?;
    ctx.wait_for_event::<Json>("End").await?;
    Ok(part("text").to_owned())
}

#[activity(name = "VersionA")]
pub fn version_a(input: String) -> String {
    input
}
