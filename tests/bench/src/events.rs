//! W9: external events, until the orchestrations that gather them have all of them.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::{Bench, Work},
    client::Connection,
    crowd::Tally,
    load::{raise, start_on, until_completed},
    process::HostProcess,
    report::Figure,
};

/// Clients, events of each, and instances that they go to.
const EVENTS: [(usize, usize, usize); 3] = [(1, 2_000, 1), (256, 100, 1), (256, 100, 1_000)];

/// Events into one instance and into many.
///
/// # Errors
/// If the host cannot be run, or an event is lost.
pub fn events(bench: &Bench) -> Result<()> {
    for (clients, events, instances) in EVENTS {
        let (events, instances) =
            (bench.plan.count(events, events / 20), bench.plan.count(instances, instances.min(20)));
        let rounds = bench.fresh_rounds("info", |host| round(bench, host, clients, events, instances))?;
        let name = format!("events into {instances} instance(s) until received, {clients} at once");
        let figure = Figure::new("W9", name, rounds).note("the times are those of the acknowledgements");
        let ratio = bench.limits()?.of_log(clients, figure.per_second());
        bench.show(figure.ratio(ratio));
    }
    Ok(())
}

fn round(bench: &Bench, host: &HostProcess, clients: usize, events: usize, instances: usize) -> Result<Work> {
    let address = host.address();
    bench.crowd.run(start(address, instances))?;
    let began = Instant::now();
    let (samples, _) = bench.crowd.measure(clients, |client| send(address, client, events, instances))?;
    let found = bench.crowd.run(gather(address, instances))?;
    let total = samples.len();
    ensure!(found == total, "{found} events were received, and {total} were acknowledged");
    Ok(Work { operations: total, samples: samples.within(began.elapsed()) })
}

/// Starts those who gather.
pub async fn start(address: SocketAddr, instances: usize) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    for number in 0..instances {
        start_on(&mut connection, "Collect", &name(number), r#"{"token":1}"#).await?;
    }
    Ok(())
}

/// One client: each event goes to the next instance.
pub async fn send(address: SocketAddr, client: usize, events: usize, instances: usize) -> Result<Tally> {
    let mut connection = Connection::open(address).await?;
    let mut tally = Tally::default();
    for number in 0..events {
        let began = Instant::now();
        raise(&mut connection, &name((client * events + number) % instances), "Evt", "1").await?;
        tally.add(began);
    }
    Ok(tally)
}

/// Ends them all; how many events they have received.
pub async fn gather(address: SocketAddr, instances: usize) -> Result<usize> {
    let mut connection = Connection::open(address).await?;
    for number in 0..instances {
        raise(&mut connection, &name(number), "Evt", r#""END""#).await?;
    }
    let mut found = 0;
    for number in 0..instances {
        let began = Instant::now();
        let status = until_completed(&mut connection, &name(number), began, Duration::from_millis(1)).await?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        found += status["output"]["events"].as_array().context("the output has the events")?.len();
    }
    Ok(found)
}

fn name(number: usize) -> String {
    format!("gathers-{number}")
}
