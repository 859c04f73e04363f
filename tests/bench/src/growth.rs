//! How cost grows: with the instances that are stored, with a fan-out, with a history, with functions and open instances.
//! What is not flat should be a straight line.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    bench::Bench,
    client::Connection,
    events, fan_out,
    load::{self, Load, raise, until_completed},
    overdue,
    prepare::{self, State},
    process::HostProcess,
    report::{Figure, Round, Samples},
};

/// Activities of the fan-outs.
const FAN_OUTS: [usize; 4] = [100, 1_000, 10_000, 50_000];

/// Events in a history.
const HISTORIES: [usize; 4] = [100, 1_000, 10_000, 50_000];

/// HTTP functions of an app.
const FUNCTIONS: [usize; 4] = [1, 10, 100, 1_000];

/// Open instances at a start.
const OPEN: [usize; 3] = [0, 100_000, 1_000_000];

/// What is measured beside instances that are stored: the load, and at how many clients.
const LOADS: [(Load, usize, &str); 3] = [
    (Load::Chain, 1, "W1: 5 steps, 1 at once"),
    (Load::Chain, 256, "W1: 5 steps, 256 at once"),
    (Load::StartByApi, 256, "W3: starts by the API, 256 at once"),
];

/// All of it.
///
/// # Errors
/// If the host cannot be run, or does not do what it should.
pub fn run(bench: &Bench) -> Result<()> {
    for stored in &bench.plan.stored {
        beside_stored(bench, bench.plan.count(*stored, stored / 1_000))?;
    }
    for activities in FAN_OUTS {
        fan_out::fan_out(bench, "growth", bench.plan.count(activities, activities / 50))?;
    }
    for length in HISTORIES {
        history(bench, bench.plan.count(length, length / 50))?;
    }
    for functions in FUNCTIONS {
        start_up(bench, bench.plan.count(functions, functions.min(20)))?;
    }
    for open in OPEN {
        let open = bench.plan.count(open, open / 1_000);
        let folder = prepare::data_folder(bench, open, State::Waiting)?;
        overdue::many_waiting(bench, "growth", &folder, open)?;
    }
    Ok(())
}

/// W1 and W3 on a hub that holds so many ended instances.
fn beside_stored(bench: &Bench, stored: usize) -> Result<()> {
    let folder = prepare::data_folder(bench, stored, State::Ended)?;
    for (load, clients, name) in LOADS {
        let name = format!("{name}, {stored} stored");
        load::beside_its_limit(bench, "growth", name, load, clients, |round| {
            let host = bench.host_on(&folder, &bench.app, &[])?;
            bench.round(host, |host| load::work(bench, host, load, clients, &format!("{load:?}-{clients}-{round}")))
        })?;
    }
    if stored > 0 { purged(bench, &folder, stored) } else { Ok(()) }
}

/// W1 while a retention purges what is stored, and how much of that is gone by then. One round: it is gone after it.
fn purged(bench: &Bench, folder: &Arc<tempfile::TempDir>, stored: usize) -> Result<()> {
    const CLIENTS: usize = 32;
    let host = bench.host_on(folder, &bench.app, &[("extensions.soloist.retention.completed", "1.00:00:00")])?;
    let mut left = 0;
    let round = bench.round(host, |host| {
        let work = load::work(bench, host, Load::Chain, CLIENTS, "beside-purges")?;
        left = first_left(bench, host, stored)?;
        Ok(work)
    })?;
    let name = format!("W1: 5 steps, {CLIENTS} at once, while {stored} are purged by age");
    let note = format!("{left} of them are gone at the end");
    bench.show(Figure::new("growth", name, vec![round]).note(note));
    Ok(())
}

/// The number of the first stored instance that is still there: they are purged in the order of their starts.
fn first_left(bench: &Bench, host: &HostProcess, stored: usize) -> Result<usize> {
    let address = host.address();
    bench.crowd.run(async {
        let mut connection = Connection::open(address).await?;
        let (mut gone, mut there) = (0, stored);
        while gone < there {
            let middle = gone + (there - gone) / 2;
            let path = format!("/runtime/webhooks/durabletask/instances/stored-{middle}");
            if connection.get(&path).await?.status == 404 {
                gone = middle + 1;
            } else {
                there = middle;
            }
        }
        Ok(gone)
    })
}

/// An instance that has received so many events, taken up after a restart: from its next event to its end.
fn history(bench: &Bench, length: usize) -> Result<()> {
    const CLIENTS: usize = 32;
    let rounds = bench.rounds(|_| {
        let host = bench.host("info", &[])?;
        let address = host.address();
        bench.crowd.run(events::start(address, 1))?;
        let each = length.div_ceil(CLIENTS);
        bench.crowd.measure(CLIENTS, |client| events::send(address, client, each, 1))?;
        // It has received them once it has nothing to do.
        std::thread::sleep(Duration::from_millis(500));
        let host = host.kill_and_start(Duration::ZERO, &bench.program, &bench.app, "info")?;
        let address = host.address();
        let samples = bench.crowd.run(async {
            let mut connection = Connection::open(address).await?;
            let began = Instant::now();
            raise(&mut connection, "gathers-0", "Evt", r#""END""#).await?;
            until_completed(&mut connection, "gathers-0", began, Duration::from_millis(1)).await?;
            anyhow::Ok(Samples::new(vec![began.elapsed()], began.elapsed()))
        })?;
        host.stop()?;
        Ok(Round::of(samples))
    })?;
    let figure = Figure::new("growth", format!("history of {length} events: replayed, to its end"), rounds);
    let note = format!("{:.1} us per event", figure.percentile(50).as_secs_f64() * 1e6 / length as f64);
    bench.show(figure.note(note));
    Ok(())
}

/// The start of a host with so many functions of one component.
fn start_up(bench: &Bench, functions: usize) -> Result<()> {
    let app = crate::scratch()?;
    write_app(bench, app.path(), functions)?;
    // The first start compiles; the cache is that of all hosts.
    overdue::start_up(bench, app.path())?;
    let rounds = bench.rounds(|_| overdue::start_up(bench, app.path()))?;
    bench.show(Figure::new("growth", format!("{functions} functions: start to first answer"), rounds));
    Ok(())
}

fn write_app(bench: &Bench, folder: &Path, functions: usize) -> Result<()> {
    fs::copy(&bench.component, folder.join("app.wasm")).context("copying the test app's component")?;
    fs::write(folder.join("host.json"), r#"{ "version": "2.0" }"#)?;
    ensure!(functions > 0, "an app has a function");
    for number in 0..functions {
        let name = folder.join(format!("Hello{number}"));
        fs::create_dir(&name)?;
        let route = if number == 0 { "hello".to_owned() } else { format!("hello-{number}") };
        let function = serde_json::json!({
            "scriptFile": "../app.wasm",
            "entryPoint": "HttpHello",
            "bindings": [
                // The component, which holds more than this, imports it.
                { "name": "starter", "type": "durableClient", "direction": "in" },
                { "name": "req", "type": "httpTrigger", "direction": "in", "authLevel": "anonymous", "route": route },
                { "name": "$return", "type": "http", "direction": "out" },
            ],
        });
        fs::write(name.join("function.json"), function.to_string())?;
    }
    Ok(())
}
