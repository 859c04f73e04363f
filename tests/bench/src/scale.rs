//! Many instances, and long ones: W5 and W6 of the comparison, and histories of thousands of steps.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};

use crate::{
    client::Connection,
    crowd::{Crowd, Tally},
    end_to_end::{Bench, start_on, until_completed},
    process::HostProcess,
    report::{Row, Samples},
};

/// W5: timers that are due while the host is dead.
const TIMERS: usize = 10_000;

/// When all timers are due: all are started by then, and the host killed.
const DUE_AFTER: Duration = Duration::from_secs(20);

/// How long the host is dead after that.
const OVERDUE: Duration = Duration::from_millis(500);

/// W6: instances that wait for an event.
const WAITING: usize = 50_000;

/// How many of them are let complete.
const APPROVED: usize = 1000;

/// Clients that start instances.
const STARTERS: usize = 32;

/// Steps of long orchestrations, and the bytes that their guests may hold between turns (none is the default).
const STEPS: [(usize, Option<&str>); 5] =
    [(1000, None), (10_000, None), (1000, Some("0")), (2000, Some("0")), (4000, Some("0"))];

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// W5: from the start of a process to the end of every instance whose timer came due before it.
///
/// # Errors
/// If the host cannot be run, or a timer fires early, or does not fire.
pub fn overdue_timers() -> Result<()> {
    let bench = Bench::new()?;
    let host = bench.host("info")?;
    let due = Instant::now() + DUE_AFTER;
    let left = move || due.saturating_duration_since(Instant::now());
    let input = move || format!(r#"{{"token":1,"ms":{}}}"#, left().as_millis());
    start_many(&bench.crowd, &host, "Timer", TIMERS, input)?;
    until_all_have_run(&bench.crowd, &host, TIMERS)?;
    ensure!(!left().is_zero(), "starting took more than {DUE_AFTER:?}: timers are due before the host is killed");
    ensure!(host.ends()?.is_empty(), "a timer fired early");
    let host = host.kill_and_start(left() + OVERDUE, &bench.program, &bench.app, "info")?;
    let ends = until(|| host.ends().map(|ends| (ends.len() == TIMERS).then_some(ends)))?;
    let (spawned, ready) = host.began();
    let since = |begin: SystemTime| {
        let taken = ends.iter().map(|end| end.duration_since(begin).unwrap_or_default()).collect::<Vec<_>>();
        let last = taken.iter().max().copied().unwrap_or_default();
        (Samples::new(taken, last), last)
    };
    let note = |(_, last): &(Samples, Duration)| format!("the last after {:.0} ms", last.as_secs_f64() * 1e3);
    let done = host.stop()?;
    for (name, begin) in [("process start", spawned), ("readiness", ready)] {
        let figures = since(begin);
        let note = format!("{}; {}", note(&figures), done.cpu_each(TIMERS));
        let name = format!("{TIMERS} overdue timers, from {name}");
        Row::new("W5", name, figures.0).commits(done.commits).note(note).print();
    }
    Ok(())
}

/// W6: the memory that waiting instances cost, and that any of them goes on when its event comes.
///
/// # Errors
/// As the others.
pub fn waiting_instances() -> Result<()> {
    let bench = Bench::new()?;
    let host = bench.host("info")?;
    let before = host.resident_memory()?;
    let began = Instant::now();
    let samples = start_many(&bench.crowd, &host, "WaitForApproval", WAITING, || "null".to_owned())?;
    until_all_have_run(&bench.crowd, &host, WAITING)?;
    let taken = began.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let note = format!("{:.0} MB resident ({:.0} MB before)", megabytes(host.resident_memory()?), megabytes(before));
    Row::new("W6", format!("{WAITING} instances wait"), samples.within(taken)).note(note).print();
    let address = host.address();
    let (samples, _) = bench.crowd.measure(8, |client| async move {
        let mut connection = Connection::open(address).await?;
        let mut tally = Tally::default();
        for number in (client..APPROVED).step_by(8) {
            // Spread over all of them in an order that nothing foresees (7919 is prime to their number).
            let id = format!("many-{}", number * 7919 % WAITING);
            let began = Instant::now();
            let path = format!("/runtime/webhooks/durabletask/instances/{id}/raiseEvent/Approval");
            let response = connection.post(&path, "true").await?;
            ensure!(response.status == 202, "{response:?}");
            until_completed(&mut connection, &id, began, Duration::from_millis(1)).await?;
            tally.add(began);
        }
        Ok(tally)
    })?;
    let note = format!("{:.0} MB resident", megabytes(host.resident_memory()?));
    let done = host.stop()?;
    Row::new("W6", format!("{APPROVED} of them complete, 8 at once"), samples).commits(done.commits).note(note).print();
    Ok(())
}

/// Orchestrations of thousands of steps, with resident guests and with none.
///
/// # Errors
/// As the others.
pub fn long_histories() -> Result<()> {
    let bench = Bench::new()?;
    for (steps, resident) in STEPS {
        let settings: Vec<_> = resident.map(|bytes| ("extensions.soloist.residentBytes", bytes)).into_iter().collect();
        let host = bench.host_with("info", &settings)?;
        let address = host.address();
        let samples = bench.crowd.run(async move {
            let mut connection = Connection::open(address).await?;
            let began = Instant::now();
            start_on(&mut connection, "Chain", "long", &format!(r#"{{"token":1,"steps":{steps}}}"#)).await?;
            loop {
                let status = connection.get("/runtime/webhooks/durabletask/instances/long").await?;
                if status.body.contains(r#""runtimeStatus":"Completed""#) {
                    break;
                }
                ensure!(began.elapsed() < PATIENCE, "it does not end: {status:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(Samples::new(vec![began.elapsed()], began.elapsed()))
        })?;
        let each = samples.percentile(50).as_secs_f64() * 1e6 / steps as f64;
        let done = host.stop()?;
        let kept = if resident.is_some() { ", no guest kept" } else { "" };
        let note = format!("{each:.0} us per step; {}", done.cpu_each(1));
        Row::new("steps", format!("chain of {steps}{kept}"), samples).commits(done.commits).note(note).print();
    }
    Ok(())
}

/// Starts so many instances, `many-0` to the last.
fn start_many(
    crowd: &Crowd,
    host: &HostProcess,
    function: &'static str,
    count: usize,
    input: impl Fn() -> String + Clone + Send + 'static,
) -> Result<Samples> {
    let address = host.address();
    let (samples, _) = crowd.measure(STARTERS, |client| {
        let input = input.clone();
        async move {
            let mut connection = Connection::open(address).await?;
            let mut tally = Tally::default();
            for number in (client..count).step_by(STARTERS) {
                let began = Instant::now();
                start_on(&mut connection, function, &format!("many-{number}"), &input()).await?;
                tally.add(began);
            }
            Ok(tally)
        }
    })?;
    Ok(samples)
}

/// Waits until every instance has had its first turn. They are taken up in the order of their starts, more or less: the last
/// hundred are asked one by one.
fn until_all_have_run(crowd: &Crowd, host: &HostProcess, count: usize) -> Result<()> {
    let address = host.address();
    for number in count.saturating_sub(100)..count {
        let path = format!("/runtime/webhooks/durabletask/instances/many-{number}");
        until(|| {
            let found = crowd.run(async { Connection::open(address).await?.get(&path).await })?;
            Ok((!found.body.contains(r#""runtimeStatus":"Pending""#)).then_some(()))
        })?;
    }
    Ok(())
}

fn until<T>(mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(began.elapsed() < PATIENCE, "waited in vain for {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
