//! A fresh guest for each call: what an HTTP function or an activity costs beside its own work.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use soloist::{
    durable::{ExecutionId, FunctionName, InstanceId, Json},
    hub::{ActivityCall, Executor},
    wasm::{HttpCall, HttpRequest, Wasm},
};

use crate::{
    bench::Bench,
    crowd::Tally,
    guests,
    report::{Figure, Round},
};

/// What is called.
#[derive(Clone, Copy)]
enum Call {
    Http(&'static str),
    Activity(&'static str),
}

/// The calls, what they are named, and how many are made at once.
const CALLS: [(&str, Call, usize); 6] = [
    ("http call, component that does nothing", Call::Http("NothingHttp"), 1),
    ("activity call, component that does nothing", Call::Activity("NothingActivity"), 1),
    ("http call, Rust (HttpHello)", Call::Http("HttpHello"), 1),
    ("http call, Rust (HttpEcho)", Call::Http("HttpEcho"), 1),
    ("activity call, Rust (ChainStep)", Call::Activity("ChainStep"), 1),
    ("activity call, Rust (ChainStep), 32 at once", Call::Activity("ChainStep"), 32),
];

/// Measures each.
///
/// # Errors
/// If a guest fails.
pub fn run(bench: &Bench) -> Result<()> {
    let folder = crate::scratch()?;
    let app = bench.crowd.run(guests::deploy(&bench.component, folder.path()))?;
    for (name, call, clients) in CALLS {
        let duration = bench.plan.duration;
        let rounds = bench.rounds(|_| {
            let (samples, _) = bench.crowd.measure(clients, |_| calls(Arc::clone(&app.wasm), call, duration))?;
            Ok(Round::of(samples))
        })?;
        bench.show(Figure::new("guest", name, rounds));
    }
    Ok(())
}

async fn calls(wasm: Arc<Wasm>, call: Call, duration: Duration) -> Result<Tally> {
    let (mut tally, until) = (Tally::default(), Instant::now() + duration);
    while Instant::now() < until {
        let began = Instant::now();
        match call {
            Call::Http(function) => http(&wasm, function).await?,
            Call::Activity(function) => activity(&wasm, function).await?,
        }
        tally.add(began);
    }
    Ok(tally)
}

async fn http(wasm: &Wasm, function: &str) -> Result<()> {
    let call = HttpCall {
        function: FunctionName::new(function),
        invocation_id: "00000000-0000-4000-8000-000000000000".to_owned(),
        request: HttpRequest {
            method: "GET".to_owned(),
            url: "http://127.0.0.1/api/hello".to_owned(),
            headers: vec![("host".to_owned(), "127.0.0.1".to_owned())],
            ..HttpRequest::default()
        },
        urls: None,
    };
    let reply = wasm.call_http(call).await?;
    anyhow::ensure!(reply.status == 200, "{function} answered {}", reply.status);
    Ok(())
}

async fn activity(wasm: &Wasm, function: &str) -> Result<()> {
    let call = ActivityCall {
        name: FunctionName::new(function),
        input: Json::parse("6")?,
        instance_id: InstanceId::parse("bench")?,
        execution_id: ExecutionId("00000000000040008000000000000000".into()),
        sequence: 0,
        attempt: 1,
        deadline: None,
        tags: Vec::new(),
        trace_context: None,
    };
    let result = wasm.activity(call).await.map_err(|failure| anyhow!("{}: {}", failure.kind, failure.message))?;
    anyhow::ensure!(result.as_str() == "6", "{function} returned {}", result.as_str());
    Ok(())
}
