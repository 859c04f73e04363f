//! Much at once: W2, one orchestration of many activities, and W4, many starts of one id.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use crate::{
    bench::{Bench, Work},
    client::Connection,
    crowd::Tally,
    load::{start_on, until_completed},
    process::HostProcess,
    report::{Figure, Samples},
};

/// Racers for one id, and how often they race in a round.
const RACERS: usize = 1000;
const RACES: usize = 5;

/// W2: many activities at once.
///
/// # Errors
/// If the host cannot be run, or does not do what it should.
pub fn fan_outs(bench: &Bench) -> Result<()> {
    for activities in [1_000, 10_000] {
        fan_out(bench, "W2", bench.plan.count(activities, activities / 10))?;
    }
    Ok(())
}

/// One figure: fan-outs of so many activities, one after the other.
///
/// # Errors
/// As the others.
pub fn fan_out(bench: &Bench, suite: &'static str, activities: usize) -> Result<()> {
    let times = (20_000 / activities).clamp(1, 20);
    let rounds = bench.fresh_rounds("info", |host| fan_out_round(bench, host, activities, times))?;
    let figure = Figure::new(suite, format!("fan-out of {activities}, start to end seen"), rounds);
    let each = figure.percentile(50).as_secs_f64() / activities as f64;
    let ratio = bench.limits()?.of_log(256, 1.0 / each);
    let note = format!("{:.1} us per activity", each * 1e6);
    bench.show(figure.ratio(ratio).note(note));
    Ok(())
}

fn fan_out_round(bench: &Bench, host: &HostProcess, activities: usize, times: usize) -> Result<Work> {
    let address = host.address();
    let (samples, _) = bench.crowd.measure(1, |_| async move {
        let mut connection = Connection::open(address).await?;
        let mut tally = Tally::default();
        // The first one is the warm-up.
        for number in 0..=times {
            let began = Instant::now();
            let (id, input) = (format!("fan-{number}"), format!(r#"{{"n":{activities}}}"#));
            start_on(&mut connection, "FanOut", &id, &input).await?;
            let status = until_completed(&mut connection, &id, began, Duration::from_millis(1)).await?;
            ensure!(status.contains(&format!(r#""output":{activities}"#)), "unexpected: {status}");
            if number > 0 {
                tally.add(began);
            }
        }
        Ok(tally)
    })?;
    Ok(Work { operations: times + 1, samples })
}

/// W4: a crowd starts one id at the same moment; connecting is part of it.
///
/// # Errors
/// As the others; unless exactly one start of each race is accepted.
pub fn races(bench: &Bench) -> Result<()> {
    let racers = bench.plan.count(RACERS, 100);
    let rounds = bench.fresh_rounds("info", |host| {
        let (address, mut taken, all) = (host.address(), Vec::new(), Instant::now());
        for race in 0..RACES {
            let began = Instant::now();
            let path = format!("/api/orchestrators/WaitForApproval/race-{race}");
            let racers: Vec<_> = (0..racers).map(|_| bench.crowd.spawn(start(address, path.clone()))).collect();
            let mut accepted = 0;
            for racer in racers {
                accepted += usize::from(bench.crowd.run(racer)?? == 202);
            }
            taken.push(began.elapsed());
            ensure!(accepted == 1, "{accepted} of the racing starts were accepted");
        }
        Ok(Samples::new(taken, all.elapsed()).into())
    })?;
    let figure = Figure::new("W4", format!("{racers} racing starts of one id"), rounds);
    let ratio = bench.limits()?.of_hello(256, racers as f64 / figure.percentile(50).as_secs_f64());
    bench.show(figure.ratio(ratio).note("one 202, all others 409; with connecting"));
    Ok(())
}

async fn start(address: SocketAddr, path: String) -> Result<u16> {
    let response = Connection::open(address).await?.post(&path, "null").await?;
    match response.status {
        202 | 409 => Ok(response.status),
        _ => bail!("a racing start was answered {response:?}"),
    }
}
