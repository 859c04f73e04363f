//! W5: restarts. Timers that came due while the host was dead, and a host that finds very many waiting instances.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::Bench,
    client::Connection,
    load::{raise, until_completed},
    prepare::{self, State},
    process::HostProcess,
    report::{Figure, Round, Samples},
    waiting::{start_many, until, until_all_have_run},
};

/// How long the host is dead after the timers came due.
const OVERDUE: Duration = Duration::from_millis(500);

/// Both kinds of restarts.
///
/// # Errors
/// If the host cannot be run, a timer fires early, or one does not fire.
pub fn restarts(bench: &Bench) -> Result<()> {
    overdue_timers(bench)?;
    let waiting = bench.plan.count(1_000_000, 2_000);
    let folder = prepare::data_folder(bench, waiting, State::Waiting)?;
    many_waiting(bench, "W5", &folder, waiting)
}

/// From the start of a process to the end of every instance whose timer came due before it.
fn overdue_timers(bench: &Bench) -> Result<()> {
    let (timers, due_after) = (bench.plan.count(10_000, 200), bench.plan.count(10, 3) as u64);
    let (mut first, mut served, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        let host = bench.host("info", &[])?;
        let due = Instant::now() + Duration::from_secs(due_after);
        let left = move || due.saturating_duration_since(Instant::now());
        let input = move || format!(r#"{{"token":1,"ms":{}}}"#, left().as_millis());
        start_many(&bench.crowd, &host, "Timer", timers, input)?;
        until_all_have_run(&bench.crowd, &host, timers)?;
        ensure!(!left().is_zero(), "starting took more than {due_after} s: timers are due before the host is killed");
        ensure!(host.ends()?.is_empty(), "a timer fired early");
        let host = host.kill_and_start(left() + OVERDUE, &bench.program, &bench.app, "info")?;
        served.push(Round::of(first_answer(bench, &host)?));
        let round = bench.round(host, |host| {
            let ends = until(|| host.ends().map(|ends| (ends.len() == timers).then_some(ends)))?;
            let since = |begin: SystemTime| -> Vec<Duration> {
                ends.iter().map(|end| end.duration_since(begin).unwrap_or_default()).collect()
            };
            let (spawned, ready) = host.began();
            let last = |taken: &[Duration]| taken.iter().max().copied().unwrap_or_default();
            let from_start = since(spawned);
            notes.push((last(&from_start), last(&since(ready))));
            let elapsed = last(&from_start);
            Ok(Samples::new(from_start, elapsed).into())
        })?;
        first.push(round);
    }
    let (last, after_ready) = notes.iter().max().copied().unwrap_or_default();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let note = format!(
        "from process start to each end; the last, at worst, {:.0} ms ({:.0} after readiness)",
        millis(last),
        millis(after_ready)
    );
    let figure = Figure::new("W5", format!("{timers} overdue timers"), first);
    let ratio = bench.limits()?.of_log(256, figure.per_second());
    bench.show(figure.ratio(ratio).note(note));
    let note = "from process start to the first answer, over all rounds";
    bench.show(Figure::new("W5", "the same: first request served", served).note(note));
    Ok(())
}

/// A restart with so many waiting instances on this data: to the first answer, and until all have been looked at.
///
/// # Errors
/// As [`restarts`]; or if an instance does not go on when its event comes.
pub fn many_waiting(bench: &Bench, suite: &'static str, folder: &Arc<tempfile::TempDir>, waiting: usize) -> Result<()> {
    let mut recovered = Vec::new();
    let rounds = bench.rounds(|round| {
        let host = bench.host_on(folder, &bench.app, &[])?;
        let samples = first_answer(bench, &host)?;
        if waiting > 0 {
            recovered.push(until_recovered(&host)?);
            approve(bench, &host, waiting, round)?;
        }
        let memory = host.resident_memory();
        host.stop()?;
        Ok(Round { memory, ..Round::of(samples) })
    })?;
    let recovered = recovered.iter().max().copied().unwrap_or_default();
    let note =
        format!("from process start; all open instances looked at, at worst, after {:.2} s", recovered.as_secs_f64());
    bench.show(Figure::new(suite, format!("{waiting} waiting: first request served"), rounds).note(note));
    Ok(())
}

/// From the start of its process to the first answer of a function.
///
/// # Errors
/// If there is none.
pub fn first_answer(bench: &Bench, host: &HostProcess) -> Result<Samples> {
    let address = host.address();
    let response = bench.crowd.run(async { Connection::open(address).await?.get("/api/hello").await })?;
    ensure!(response.status == 200, "the first answer is {response:?}");
    let taken = host.spawned().elapsed();
    Ok(Samples::new(vec![taken], taken))
}

fn until_recovered(host: &HostProcess) -> Result<Duration> {
    let logged = until(|| Ok(host.logged("\"recovered\"")?.first().copied()))?;
    logged.duration_since(host.began().0).context("it recovered before it began")
}

/// Any of them goes on when its event comes.
fn approve(bench: &Bench, host: &HostProcess, waiting: usize, round: usize) -> Result<()> {
    let address = host.address();
    let id = format!("stored-{}", (waiting / 2 + round) % waiting);
    bench.crowd.run(async {
        let mut connection = Connection::open(address).await?;
        raise(&mut connection, &id, "Approval", "true").await?;
        let status = until_completed(&mut connection, &id, Instant::now(), Duration::from_millis(1)).await?;
        ensure!(status.contains(r#""output":true"#), "unexpected: {status}");
        Ok(())
    })
}

/// How long a host takes to answer on fresh data, with this app.
///
/// # Errors
/// If it does not.
pub fn start_up(bench: &Bench, app: &Path) -> Result<Round> {
    let host = bench.host_on(&Arc::new(crate::scratch()?), app, &[])?;
    let samples = first_answer(bench, &host)?;
    let memory = host.resident_memory();
    host.stop()?;
    Ok(Round { memory, ..Round::of(samples) })
}
