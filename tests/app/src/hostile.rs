//! Functions that behave as badly as they can. The host must survive them, and name them.

use soloist_sdk::prelude::*;
use std::hint::black_box;

fn spin_for_ever() -> ! {
    let mut rounds: u64 = 0;
    loop {
        rounds = black_box(rounds.wrapping_add(1));
    }
}

/// Never returns.
#[http_trigger]
pub fn http_spin() -> HttpResponse {
    spin_for_ever()
}

/// Allocates, and touches, more and more.
#[http_trigger]
pub fn http_oom() -> HttpResponse {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    loop {
        hoard.push(black_box(vec![1; 1024 * 1024]));
    }
}

/// Recurses without end.
#[http_trigger]
pub fn http_recurse() -> HttpResponse {
    fn deeper(depth: u64) -> u64 {
        if black_box(depth) == u64::MAX { 0 } else { black_box(deeper(depth + 1)) + 1 }
    }
    HttpResponse::ok().text(deeper(0).to_string())
}

/// Panics with the text `boom <n>`; `?n=` chooses the number.
#[http_trigger]
pub fn http_panic(req: HttpRequest) -> HttpResponse {
    panic!("boom {}", req.query("n").unwrap_or("0"))
}

/// Returns `?bytes=` bytes.
#[http_trigger]
pub fn http_big(req: HttpRequest) -> HttpResult {
    let bytes = req.query("bytes").and_then(|bytes| bytes.parse().ok());
    let bytes = bytes.ok_or(BadRequest::new("say how many: ?bytes=1000"))?;
    Ok(HttpResponse::ok().header("content-type", "application/octet-stream").body(vec![b'x'; bytes]))
}

/// An orchestrator that never returns.
#[orchestrator]
pub async fn spin() {
    spin_for_ever()
}

/// An orchestrator that panics.
#[orchestrator]
pub async fn panics() {
    panic!("boom orchestrator")
}

/// An activity that never returns.
#[activity]
pub fn spin_step(_ms: u64) -> u64 {
    spin_for_ever()
}

/// Starts itself as its child, for ever.
#[orchestrator]
pub async fn matryoshka(ctx: OrchestrationContext, depth: u64) -> Result<u64> {
    ctx.call_sub_orchestration("Matryoshka", &(depth + 1)).await
}

/// Continues as new, again and again, and never waits.
#[orchestrator]
pub async fn restless(ctx: OrchestrationContext, round: u64) -> Result<()> {
    ctx.continue_as_new(&(round + 1))
}

/// Arms a timer at a time that need be none, in Unix milliseconds: a number as text, since JSON has no infinity.
#[orchestrator]
pub async fn timer_at(ctx: OrchestrationContext, millis: String) -> Result<String> {
    ctx.create_timer(Timestamp::from_millis(millis.parse()?)).await;
    Ok(millis)
}
