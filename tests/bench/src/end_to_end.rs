//! End to end over HTTP, each figure on a fresh host process: W1 to W4 of the comparison, and plain HTTP functions.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::{
    client::Connection,
    crowd::{Crowd, Tally},
    guests,
    process::{self, HostProcess},
    report::{Row, Samples},
};

/// How many clients there are at once.
const CLIENTS: [usize; 3] = [1, 32, 256];

const DURATION: Duration = Duration::from_secs(3);

/// Of each load this much comes before the clock runs: connections, first compilations of queries, warm slots.
const WARM_UP: Duration = Duration::from_millis(300);

/// Racers for one id, and how often they race.
const RACERS: usize = 1000;
const RACES: usize = 5;

/// Activities of the fan-outs, and how often each is run.
const FAN_OUTS: [(usize, usize); 3] = [(100, 20), (1000, 10), (10_000, 5)];

/// How long one orchestration may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What one client does, again and again.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// An orchestration of five activities in sequence, from its start to the status read that shows its end.
    Chain,
    /// Starts of orchestrations that wait for an event, through an HTTP function.
    StartByFunction,
    /// The same through the management API: no guest serves the request.
    StartByApi,
    /// A request for a function that does nothing much.
    Hello,
    /// A request for no function: what connection, parser and router cost.
    NotFound,
}

/// W1: short orchestrations.
///
/// # Errors
/// If the host cannot be run, or does not do what it should; so for the others.
pub fn chains() -> Result<()> {
    let bench = Bench::new()?;
    for clients in CLIENTS {
        bench.load("W1", "chain of 5, start to end seen", Load::Chain, clients, "info")?;
    }
    bench.load("W1", "the same, log off", Load::Chain, 256, "warn")
}

/// W2: many activities at once.
pub fn fan_outs() -> Result<()> {
    let bench = Bench::new()?;
    FAN_OUTS.into_iter().try_for_each(|(activities, times)| bench.fan_out(activities, times))
}

/// W3: starts.
pub fn starts() -> Result<()> {
    let bench = Bench::new()?;
    for clients in CLIENTS {
        bench.load("W3", "starts through HttpStartSingle", Load::StartByFunction, clients, "info")?;
    }
    bench.load("W3", "starts by the management API", Load::StartByApi, 256, "info")?;
    bench.load("W3", "the same, log off", Load::StartByApi, 256, "warn")
}

/// W4: racing starts of one id.
pub fn races() -> Result<()> {
    Bench::new()?.race()
}

/// Plain HTTP functions.
pub fn functions() -> Result<()> {
    let bench = Bench::new()?;
    for clients in CLIENTS {
        bench.load("hello", "HttpEcho", Load::Hello, clients, "info")?;
    }
    bench.load("hello", "no such route (no guest)", Load::NotFound, 256, "info")
}

/// What all measurements share.
pub(crate) struct Bench {
    pub(crate) crowd: Crowd,
    pub(crate) program: PathBuf,
    pub(crate) app: PathBuf,
    cache: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Result<Self> {
        guests::build_app()?;
        let bench =
            Self { crowd: Crowd::new()?, program: process::program()?, app: guests::app(), cache: crate::scratch()? };
        // Compiles the app's component for all that follow.
        bench.host("warn")?.stop()?;
        Ok(bench)
    }

    pub(crate) fn host(&self, log_level: &str) -> Result<HostProcess> {
        self.host_with(log_level, &[])
    }

    pub(crate) fn host_with(&self, log_level: &str, settings: &[(&str, &str)]) -> Result<HostProcess> {
        HostProcess::start(&self.program, &self.app, self.cache.path(), log_level, settings)
    }

    fn load(&self, suite: &'static str, name: &str, load: Load, clients: usize, log_level: &str) -> Result<()> {
        let host = self.host(log_level)?;
        let address = host.address();
        let client = |client| run_client(address, load, client, clients == 1);
        let (samples, warm_up) = self.crowd.measure(clients, client)?;
        let done = host.stop()?;
        let note = done.cpu_each(samples.len() + warm_up);
        let name = format!("{name}, {clients} at once");
        Row::new(suite, name, samples.within(DURATION)).commits(done.commits).note(note).print();
        Ok(())
    }

    /// W4: a crowd starts one id at the same moment; connecting is part of it.
    fn race(&self) -> Result<()> {
        let host = self.host("info")?;
        let address = host.address();
        let (mut races, began) = (Vec::new(), Instant::now());
        for race in 0..RACES {
            let began = Instant::now();
            let path = format!("/api/orchestrators/WaitForApproval/race-{race}");
            let racers: Vec<_> = (0..RACERS).map(|_| self.crowd.spawn(start(address, path.clone()))).collect();
            let mut accepted = 0;
            for racer in racers {
                accepted += usize::from(self.crowd.run(racer)?? == 202);
            }
            races.push(began.elapsed());
            ensure!(accepted == 1, "{accepted} of {RACERS} racing starts were accepted");
        }
        let samples = Samples::new(races, began.elapsed());
        let name = format!("{RACERS} racing starts of one id");
        let done = host.stop()?;
        let note = format!("one 202, the others 409; {}", done.cpu_each(RACES * RACERS));
        Row::new("W4", name, samples).commits(done.commits).note(note).print();
        Ok(())
    }

    /// W2: many activities at once.
    fn fan_out(&self, activities: usize, times: usize) -> Result<()> {
        let host = self.host("info")?;
        let address = host.address();
        let (samples, _) = self.crowd.measure(1, |_| async move {
            let mut connection = Connection::open(address).await?;
            let mut tally = Tally::default();
            for number in 0..times {
                let began = Instant::now();
                let (id, input) = (format!("fan-{number}"), format!(r#"{{"n":{activities}}}"#));
                start_on(&mut connection, "FanOut", &id, &input).await?;
                let status = until_completed(&mut connection, &id, began, Duration::from_millis(1)).await?;
                ensure!(status.contains(&format!(r#""output":{activities}"#)), "unexpected: {status}");
                tally.add(began);
            }
            Ok(tally)
        })?;
        let name = format!("fan-out of {activities}, start to end seen");
        let done = host.stop()?;
        let each = samples.percentile(50).as_secs_f64() * 1e6 / activities as f64;
        let note = format!("{each:.1} us per activity; {}", done.cpu_each(times));
        Row::new("W2", name, samples).commits(done.commits).note(note).print();
        Ok(())
    }
}

async fn run_client(address: SocketAddr, load: Load, client: usize, alone: bool) -> Result<Tally> {
    let mut connection = Connection::open(address).await?;
    let mut tally = Tally::default();
    let began = Instant::now();
    let (from, until) = (began + WARM_UP, began + WARM_UP + DURATION);
    let mut last = Duration::ZERO;
    let mut number = 0;
    loop {
        let began = Instant::now();
        let id = format!("client-{client}-instance-{number}");
        match load {
            Load::Chain => {
                start_on(&mut connection, "Chain", &id, r#"{"token":1,"steps":5}"#).await?;
                // A client that asks all the time measures itself: with others about, it waits for most of what the last
                // one took, and then asks in steps of a sixteenth of it.
                let step = if alone { Duration::ZERO } else { last / 16 };
                tokio::time::sleep(step * 12).await;
                let status = until_completed(&mut connection, &id, began, step).await?;
                ensure!(status.contains(r#""trace":[0,1,2,3,4]"#), "unexpected: {status}");
            }
            Load::StartByFunction => start_on(&mut connection, "WaitForApproval", &id, "null").await?,
            Load::StartByApi => {
                let path = format!("/runtime/webhooks/durabletask/orchestrators/WaitForApproval/{id}");
                let response = connection.post(&path, "null").await?;
                ensure!(response.status == 202, "starting {id}: {response:?}");
            }
            Load::Hello => {
                let response = connection.post("/api/echo", "hello").await?;
                ensure!(response.status == 200, "{response:?}");
            }
            Load::NotFound => {
                let response = connection.get("/api/nobody/is/here").await?;
                ensure!(response.status == 404, "{response:?}");
            }
        }
        let now = Instant::now();
        (last, number) = (now - began, number + 1);
        if now >= until {
            tally.uncounted += 1;
            return Ok(tally);
        }
        if now >= from {
            tally.add(began);
        } else {
            tally.uncounted += 1;
        }
    }
}

async fn start(address: SocketAddr, path: String) -> Result<u16> {
    let response = Connection::open(address).await?.post(&path, "null").await?;
    match response.status {
        202 | 409 => Ok(response.status),
        _ => bail!("a racing start was answered {response:?}"),
    }
}

pub(crate) async fn start_on(connection: &mut Connection, function: &str, id: &str, input: &str) -> Result<()> {
    let response = connection.post(&format!("/api/orchestrators/{function}/{id}"), input).await?;
    ensure!(response.status == 202, "starting {id}: {response:?}");
    Ok(())
}

/// Reads the status until it is Completed, and returns it.
pub(crate) async fn until_completed(
    connection: &mut Connection,
    id: &str,
    began: Instant,
    step: Duration,
) -> Result<String> {
    let path = format!("/runtime/webhooks/durabletask/instances/{id}");
    loop {
        let response = connection.get(&path).await?;
        if response.body.contains(r#""runtimeStatus":"Completed""#) {
            return Ok(response.body);
        }
        ensure!(response.status == 202, "the status of {id} is {response:?}");
        ensure!(began.elapsed() < PATIENCE, "{id} does not end: {}", response.body);
        if !step.is_zero() {
            tokio::time::sleep(step).await;
        }
    }
}
