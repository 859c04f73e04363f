//! W6: the memory of a host, idle and with many waiting instances.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{
    bench::Bench,
    client::Connection,
    crowd::{Crowd, Tally},
    load::{raise, start_on, until_completed},
    process::HostProcess,
    report::{Figure, Round, Samples},
};

/// Clients that start instances.
const STARTERS: usize = 32;

/// Clients that let them complete.
const APPROVERS: usize = 8;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The memory that waiting instances cost, and that any of them goes on when its event comes.
///
/// # Errors
/// If the host cannot be run, or does not do what it should.
pub fn memory(bench: &Bench) -> Result<()> {
    let (waiting, approved) = (bench.plan.count(50_000, 500), bench.plan.count(1_000, 50));
    let (mut idle, mut full, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        let host = bench.host("info", &[])?;
        let memory = |samples: Samples| Round { memory: host.resident_memory(), ..Round::of(samples) };
        idle.push(memory(Samples::new(vec![host.took_to_start()], host.took_to_start())));
        let began = Instant::now();
        let samples = start_many(&bench.crowd, &host, "WaitForApproval", waiting, || "null".to_owned())?;
        until_all_have_run(&bench.crowd, &host, waiting)?;
        let samples = samples.within(began.elapsed());
        // What ends by itself shortly after has ended by then.
        std::thread::sleep(Duration::from_secs(1));
        full.push(memory(samples));
        let round = bench.round(host, |host| Ok(approve(&bench.crowd, host, waiting, approved)?.into()))?;
        // Those are the whole life's: the starts' are among them.
        after.push(Round { commits: None, ..round });
    }
    bench.show(Figure::new("W6", "idle; the time is a start's", idle));
    let full = Figure::new("W6", format!("{waiting} instances wait; the rate is their starts'"), full);
    bench.show(full);
    let after = Figure::new("W6", format!("{approved} of them complete, {APPROVERS} at once"), after);
    let ratio = bench.limits()?.of_log(1, after.per_second());
    bench.show(after.ratio(ratio));
    Ok(())
}

fn approve(crowd: &Crowd, host: &HostProcess, waiting: usize, approved: usize) -> Result<Samples> {
    let address = host.address();
    let (samples, _) = crowd.measure(APPROVERS, |client| async move {
        let mut connection = Connection::open(address).await?;
        let mut tally = Tally::default();
        for number in (client..approved).step_by(APPROVERS) {
            // Spread over all of them in an order that nothing foresees (7919 is prime to their number).
            let id = format!("many-{}", number * 7919 % waiting);
            let began = Instant::now();
            raise(&mut connection, &id, "Approval", "true").await?;
            until_completed(&mut connection, &id, began, Duration::from_millis(1)).await?;
            tally.add(began);
        }
        Ok(tally)
    })?;
    Ok(samples)
}

/// Starts so many instances, `many-0` to the last.
///
/// # Errors
/// If one is not accepted.
pub fn start_many(
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
///
/// # Errors
/// If one has not in time.
pub fn until_all_have_run(crowd: &Crowd, host: &HostProcess, count: usize) -> Result<()> {
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

/// Asks until there is an answer.
///
/// # Errors
/// The question's, or if there is none in time.
pub fn until<T>(mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(began.elapsed() < PATIENCE, "waited in vain for {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
