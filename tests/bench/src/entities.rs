//! W8: entities. Signals from many clients until every one of them is in the state, on one key and over many; and reads.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    client::Connection,
    crowd::Tally,
    end_to_end::Bench,
    process::HostProcess,
    report::{Row, Samples},
};

/// Clients, signals of each, and over how many keys they go.
const SIGNALS: [(usize, usize, usize); 4] = [(1, 1_000, 1), (64, 500, 1), (256, 200, 1), (256, 200, 1_000)];

/// Clients that read, and reads of each.
const READS: [(usize, usize); 2] = [(1, 5_000), (256, 200)];

/// How long the last operation may take after the last signal was acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);

/// Operations and reads.
///
/// # Errors
/// If the host cannot be run, or a sum is not that of the acknowledged signals.
pub fn operations() -> Result<()> {
    let bench = Bench::new()?;
    for (clients, signals, keys) in SIGNALS {
        signal(&bench, clients, signals, keys)?;
    }
    READS.into_iter().try_for_each(|(clients, reads)| read(&bench, clients, reads))
}

/// Each client adds 1 again and again, to one key after the other. Counted is what is in the states, until the last is.
fn signal(bench: &Bench, clients: usize, signals: usize, keys: usize) -> Result<()> {
    let host = bench.host("info")?;
    let address = host.address();
    let began = Instant::now();
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
    let acknowledged = samples.clone();
    bench.crowd.run(until_sum(address, keys, samples.len()))?;
    let samples = samples.within(began.elapsed());
    let (name, operations) = (format!("signals to {keys} keys until applied, {clients} at once"), samples.len());
    let commits = print_end(host, "W8", name, samples, operations)?;
    let each = operations as f64 / commits.unwrap_or(1).max(1) as f64;
    let name = format!("the same, acknowledged; {each:.1} operations per commit");
    Row::new("W8", name, acknowledged).print();
    Ok(())
}

/// Each client reads one entity's state again and again.
fn read(bench: &Bench, clients: usize, reads: usize) -> Result<()> {
    let host = bench.host("info")?;
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
    let operations = samples.len();
    print_end(host, "W8", format!("reads of one entity, {clients} at once"), samples, operations)?;
    Ok(())
}

fn print_end(
    host: HostProcess,
    suite: &'static str,
    name: String,
    samples: Samples,
    operations: usize,
) -> Result<Option<u64>> {
    let done = host.stop()?;
    Row::new(suite, name, samples).commits(done.commits).note(done.cpu_each(operations)).print();
    Ok(done.commits)
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
