//! W8: entities. Signals from many clients until every one of them is in the state, on one key and over many; and reads.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    bench::{Bench, Work},
    client::Connection,
    crowd::Tally,
    process::HostProcess,
    report::{Figure, Samples},
};

/// Clients, signals of each, and over how many keys they go.
const SIGNALS: [(usize, usize, usize); 4] = [(1, 1_000, 1), (32, 500, 1), (256, 100, 1), (256, 100, 1_000)];

/// Clients that read, and reads of each.
const READS: [(usize, usize); 2] = [(1, 10_000), (256, 200)];

/// How long the last operation may take after the last signal was acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);

/// Operations and reads.
///
/// # Errors
/// If the host cannot be run, or a sum is not that of the acknowledged signals.
pub fn operations(bench: &Bench) -> Result<()> {
    for (clients, signals, keys) in SIGNALS {
        let (signals, keys) = (bench.plan.count(signals, signals / 20), bench.plan.count(keys, keys.min(20)));
        let rounds = bench.fresh_rounds("info", |host| signal(bench, host, clients, signals, keys))?;
        let figure = Figure::new("W8", format!("signals to {keys} key(s) until applied, {clients} at once"), rounds);
        let ratio = bench.limits()?.of_log(clients, figure.per_second());
        bench.show(figure.ratio(ratio).note("the times are those of the acknowledgements"));
    }
    for (clients, reads) in READS {
        let reads = bench.plan.count(reads, reads / 20);
        let rounds = bench.fresh_rounds("info", |host| Ok(read(bench, host, clients, reads)?.into()))?;
        let figure = Figure::new("W8", format!("reads of one entity, {clients} at once"), rounds);
        let ratio = bench.limits()?.of_hello(clients, figure.per_second());
        bench.show(figure.ratio(ratio));
    }
    Ok(())
}

/// Each client adds 1 again and again, to one key after the other. The clock runs until the last is in a state.
fn signal(bench: &Bench, host: &HostProcess, clients: usize, signals: usize, keys: usize) -> Result<Work> {
    let (address, began) = (host.address(), Instant::now());
    let (samples, _) = bench.crowd.measure(clients, |client| async move {
        let mut connection = Connection::open(address).await?;
        let mut tally = Tally::default();
        for number in 0..signals {
            let key = (client * signals + number) % keys;
            let began = Instant::now();
            let response = connection.post(&format!("{}?op=add", path(key)), "1").await?;
            ensure!(response.status == 202, "a signal was answered {response:?}");
            tally.add(began);
        }
        Ok(tally)
    })?;
    bench.crowd.run(until_sum(address, keys, samples.len()))?;
    Ok(samples.within(began.elapsed()).into())
}

/// Each client reads one entity's state again and again.
fn read(bench: &Bench, host: &HostProcess, clients: usize, reads: usize) -> Result<Samples> {
    let address = host.address();
    bench.crowd.run(async {
        let response = Connection::open(address).await?.post(&format!("{}?op=add", path(0)), "7").await?;
        ensure!(response.status == 202, "a signal was answered {response:?}");
        until_sum(address, 1, 7).await
    })?;
    let (samples, _) = bench.crowd.measure(clients, |_| async move {
        let mut connection = Connection::open(address).await?;
        let mut tally = Tally::default();
        for _ in 0..reads {
            let began = Instant::now();
            let response = connection.get(&path(0)).await?;
            ensure!(response.status == 200 && response.body == "7", "a read was answered {response:?}");
            tally.add(began);
        }
        Ok(tally)
    })?;
    Ok(samples)
}

fn path(key: usize) -> String {
    format!("/runtime/webhooks/durabletask/entities/Counter/key-{key}")
}

/// Waits until the states of all keys add up.
async fn until_sum(address: SocketAddr, keys: usize, sum: usize) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let began = Instant::now();
    loop {
        let mut found = 0;
        for key in 0..keys {
            let response = connection.get(&path(key)).await?;
            found += response.body.parse::<usize>().unwrap_or(0);
        }
        ensure!(found <= sum, "the sum is {found}, and {sum} were added");
        if found == sum {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "after {PATIENCE:?} the sum is {found} of {sum}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
