//! Many clients that do one thing again and again: W1, W3 and W7.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    bench::{Bench, Plan, Work},
    client::Connection,
    crowd::Tally,
    process::HostProcess,
    raw::{self, CLIENTS},
    report::{Figure, Ratio, Round},
};

/// How long one orchestration may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long clients that are not alone wait for their first orchestration: they must not all ask without pause.
const FIRST_GUESS: Duration = Duration::from_millis(12);

/// Durable records of one orchestration of five activities: its start, its first turn and one turn for each result.
const CHAIN_RECORDS: f64 = 7.0;

/// What one client does, again and again.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// An orchestration of five activities in sequence, from its start to the status read that shows its end.
    Chain,
    /// Starts of orchestrations that wait for an event, through an HTTP function.
    StartByFunction,
    /// The same through the management API: no guest serves the request.
    StartByApi,
    /// A request for a function that says hello.
    Hello,
    /// A request for one that answers with the whole request as JSON.
    Echo,
    /// A request for no function: what connection, parser and router cost.
    NotFound,
}

/// W1: short orchestrations.
///
/// # Errors
/// If the host cannot be run, or does not do what it should; so for the others.
pub fn chains(bench: &Bench) -> Result<()> {
    for clients in CLIENTS {
        measure(bench, "W1", "5 steps, start to end seen", Load::Chain, clients)?;
    }
    Ok(())
}

/// W3: starts.
pub fn starts(bench: &Bench) -> Result<()> {
    for clients in CLIENTS {
        measure(bench, "W3", "starts through HttpStartSingle", Load::StartByFunction, clients)?;
    }
    measure(bench, "W3", "starts by the management API", Load::StartByApi, 256)
}

/// W7: HTTP functions.
pub fn functions(bench: &Bench) -> Result<()> {
    for clients in CLIENTS {
        measure(bench, "W7", "hello from a function", Load::Hello, clients)?;
    }
    measure(bench, "W7", "echo of the request as JSON", Load::Echo, 256)?;
    measure(bench, "W7", "no such route (no guest)", Load::NotFound, 256)
}

fn measure(bench: &Bench, suite: &'static str, name: &str, load: Load, clients: usize) -> Result<()> {
    let name = format!("{name}, {clients} at once");
    beside_its_limit(bench, suite, name, load, clients, |round| {
        let host = bench.host("info", &[])?;
        bench.round(host, |host| work(bench, host, load, clients, &format!("round-{round}")))
    })
}

/// Shows a load's figure beside the limit that bounds it: the disk for what is durable, the sockets for what is not. The
/// limit is measured before each round, as the machine may be another one a minute later.
///
/// # Errors
/// If a round cannot be run, or the limit not be measured.
pub fn beside_its_limit(
    bench: &Bench,
    suite: &'static str,
    name: String,
    load: Load,
    clients: usize,
    round: impl Fn(usize) -> Result<Round>,
) -> Result<()> {
    let (is_durable, records) = match load {
        Load::Chain => (true, CHAIN_RECORDS),
        Load::StartByFunction | Load::StartByApi => (true, 1.0),
        Load::Hello | Load::Echo | Load::NotFound => (false, 1.0),
    };
    let mut limits = Vec::new();
    let rounds = bench.rounds(|number| {
        limits.push(if is_durable { raw::log_round(bench, clients)? } else { raw::hello_round(bench, clients)? });
        round(number)
    })?;
    let figure = Figure::new(suite, name, rounds);
    let limit = Figure::new("raw", "", limits).per_second().max(1e-9);
    let of = format!("{} at {clients}", if is_durable { raw::LOG } else { raw::HELLO });
    let ratio = Ratio { value: records * figure.per_second() / limit, of };
    bench.show(figure.ratio(Some(ratio)));
    Ok(())
}

/// The load on a host, as long as the plan says; instances are named after `prefix`.
///
/// # Errors
/// If a client meets what it should not.
pub fn work(bench: &Bench, host: &HostProcess, load: Load, clients: usize, prefix: &str) -> Result<Work> {
    let address = host.address();
    let (samples, uncounted) = bench.crowd.measure(clients, |client| {
        let (plan, prefix) = (bench.plan.clone(), format!("{prefix}-{client}"));
        async move { run_client(address, load, &prefix, &plan, clients == 1).await }
    })?;
    Ok(Work { operations: samples.len() + uncounted, samples: samples.within(bench.plan.duration) })
}

async fn run_client(address: SocketAddr, load: Load, prefix: &str, plan: &Plan, alone: bool) -> Result<Tally> {
    let mut connection = Connection::open(address).await?;
    let mut tally = Tally::default();
    let began = Instant::now();
    let (from, until) = (began + plan.warm_up, began + plan.warm_up + plan.duration);
    let (mut pause, mut number) = (Pause(if alone { Duration::ZERO } else { FIRST_GUESS }), 0);
    loop {
        let began = Instant::now();
        once(&mut connection, load, &format!("{prefix}-instance-{number}"), &mut pause).await?;
        number += 1;
        if tally.add_between(began, from, until) {
            return Ok(tally);
        }
    }
}

/// How long a client waits before it first asks for an orchestration's status. One that asks all the time measures itself;
/// one that waits for a part of what the last one took, its own waiting included, finds a pace of its own making.
struct Pause(Duration);

impl Pause {
    /// Between further reads.
    fn step(&self) -> Duration {
        self.0 / 16
    }

    /// Learns from how many reads there were: where the first saw the end, it may have been late. One orchestration that
    /// took long changes little.
    fn learn(&mut self, reads: u32) {
        self.0 = match reads {
            0 | 1 => self.0 - self.step(),
            2 => self.0,
            _ => self.0 + self.step() * (reads - 2).min(4),
        };
    }
}

/// Does it once.
async fn once(connection: &mut Connection, load: Load, id: &str, pause: &mut Pause) -> Result<()> {
    match load {
        Load::Chain => {
            let began = Instant::now();
            start_on(connection, "Chain", id, r#"{"token":1,"steps":5}"#).await?;
            tokio::time::sleep(pause.0).await;
            let (status, reads) = reads_until_completed(connection, id, began, pause.step()).await?;
            pause.learn(reads);
            ensure!(status.contains(r#""trace":[0,1,2,3,4]"#), "unexpected: {status}");
        }
        Load::StartByFunction => start_on(connection, "WaitForApproval", id, "null").await?,
        Load::StartByApi => {
            let path = format!("/runtime/webhooks/durabletask/orchestrators/WaitForApproval/{id}");
            let response = connection.post(&path, "null").await?;
            ensure!(response.status == 202, "starting {id}: {response:?}");
        }
        Load::Hello => {
            let response = connection.get("/api/hello").await?;
            ensure!(response.status == 200 && response.body == "Hello!", "{response:?}");
        }
        Load::Echo => {
            let response = connection.post("/api/echo", "hello").await?;
            ensure!(response.status == 200, "{response:?}");
        }
        Load::NotFound => {
            let response = connection.get("/api/nobody/is/here").await?;
            ensure!(response.status == 404, "{response:?}");
        }
    }
    Ok(())
}

/// Starts an orchestration through the HTTP function.
///
/// # Errors
/// If it is not accepted.
pub async fn start_on(connection: &mut Connection, function: &str, id: &str, input: &str) -> Result<()> {
    let response = connection.post(&format!("/api/orchestrators/{function}/{id}"), input).await?;
    ensure!(response.status == 202, "starting {id}: {response:?}");
    Ok(())
}

/// Sends an external event.
///
/// # Errors
/// If it is not accepted.
pub async fn raise(connection: &mut Connection, id: &str, event: &str, payload: &str) -> Result<()> {
    let path = format!("/runtime/webhooks/durabletask/instances/{id}/raiseEvent/{event}");
    let response = connection.post(&path, payload).await?;
    ensure!(response.status == 202, "an event for {id} was answered {response:?}");
    Ok(())
}

/// Reads the status until it is Completed, and returns it.
///
/// # Errors
/// If it ends otherwise, or not in time.
pub async fn until_completed(connection: &mut Connection, id: &str, began: Instant, step: Duration) -> Result<String> {
    reads_until_completed(connection, id, began, step).await.map(|(status, _)| status)
}

/// The same, and how many reads there were.
async fn reads_until_completed(
    connection: &mut Connection,
    id: &str,
    began: Instant,
    step: Duration,
) -> Result<(String, u32)> {
    let path = format!("/runtime/webhooks/durabletask/instances/{id}");
    let mut reads = 0;
    loop {
        let response = connection.get(&path).await?;
        reads += 1;
        if response.body.contains(r#""runtimeStatus":"Completed""#) {
            return Ok((response.body, reads));
        }
        ensure!(response.status == 202, "the status of {id} is {response:?}");
        ensure!(began.elapsed() < PATIENCE, "{id} does not end: {}", response.body);
        if !step.is_zero() {
            tokio::time::sleep(step).await;
        }
    }
}
