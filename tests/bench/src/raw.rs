//! The raw limits of the machine, in the same run: what no host can beat.
//!
//! - **log**: records appended to one file by one thread, all that wait in one write and one `fdatasync`. It decides nothing,
//!   indexes nothing and cannot be read.
//! - **hello**: hyper on a runtime like the host's, in a process of its own, that answers every request with the same words.

use std::{
    convert::Infallible,
    fs::{self, File},
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::Full;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::oneshot;

use crate::{
    bench::{Bench, Plan},
    client::Connection,
    crowd::{Crowd, Tally},
    machine,
    report::{Figure, Ratio, Round, Samples},
};

/// How many clients wait at once.
pub const CLIENTS: [usize; 3] = [1, 32, 256];

/// The size of a record in the log: about what storage writes for a turn.
const LOG_RECORD_BYTES: usize = 83;

/// The limits' names.
pub const LOG: &str = "the log";
pub const HELLO: &str = "raw hyper";

/// How long the hello may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The limits that figures are compared with.
#[derive(Clone, Debug)]
pub struct Limits {
    sync: Figure,
    log: Vec<(usize, Figure)>,
    hello: Vec<(usize, Figure)>,
}

impl Limits {
    /// Measures them.
    ///
    /// # Errors
    /// If a file cannot be written or a process not be started.
    pub fn measure(bench: &Bench) -> Result<Self> {
        let folder = crate::scratch()?;
        let sync = bench.rounds(|round| sync(&folder.path().join(format!("sync-{round}")), &bench.plan))?;
        let sync = Figure::new("raw", "83 bytes appended and fdatasync, one thread", sync);
        let mut log = Vec::new();
        for clients in CLIENTS {
            let rounds = bench.rounds(|_| log_round(bench, clients))?;
            log.push((clients, Figure::new("raw", format!("append log with group commit, {clients} waiters"), rounds)));
        }
        let mut hello = Vec::new();
        for clients in CLIENTS {
            let rounds = bench.rounds(|_| hello_round(bench, clients))?;
            hello.push((clients, Figure::new("raw", format!("hyper, hello, {clients} at once"), rounds)));
        }
        Ok(Self { sync, log, hello })
    }

    /// The part of the log's records that so many durable records a second are, at the same number of waiters.
    pub fn of_log(&self, clients: usize, records_per_second: f64) -> Option<Ratio> {
        ratio(&self.log, clients, LOG, records_per_second)
    }

    /// The part of the raw server's requests that so many requests a second are, at the same number of clients.
    pub fn of_hello(&self, clients: usize, requests_per_second: f64) -> Option<Ratio> {
        ratio(&self.hello, clients, HELLO, requests_per_second)
    }
}

fn ratio(limits: &[(usize, Figure)], clients: usize, what: &str, per_second: f64) -> Option<Ratio> {
    let (at, limit) = limits.iter().min_by_key(|(at, _)| at.abs_diff(clients))?;
    Some(Ratio { value: per_second / limit.per_second().max(1e-9), of: format!("{what} at {at}") })
}

/// Shows the limits.
///
/// # Errors
/// If they cannot be measured.
pub fn show(bench: &Bench) -> Result<()> {
    let Limits { sync, log, hello } = bench.limits()?.clone();
    std::iter::once(sync)
        .chain(log.into_iter().chain(hello).map(|(_, figure)| figure))
        .for_each(|figure| bench.show(figure));
    Ok(())
}

/// One append and sync after the other.
fn sync(path: &Path, plan: &Plan) -> Result<Round> {
    let mut file = File::options().create_new(true).append(true).open(path).context("opening a file to sync")?;
    let (mut taken, began) = (Vec::new(), Instant::now());
    let flushes = machine::disk_flushes(path);
    while began.elapsed() < plan.duration {
        let began = Instant::now();
        file.write_all(&[7; LOG_RECORD_BYTES])?;
        file.sync_data()?;
        taken.push(began.elapsed());
    }
    let samples = Samples::new(taken, began.elapsed());
    let flushes = machine::disk_flushes(path).zip(flushes).map(|(after, before)| after - before);
    Ok(Round { commits: Some(samples.len() as u64), flushes, ..Round::of(samples) })
}

/// A record for the log, and whom to tell.
type Append = ([u8; LOG_RECORD_BYTES], oneshot::Sender<()>);

/// The append log with so many waiters.
///
/// # Errors
/// If the file cannot be written.
pub fn append_log(crowd: &Crowd, path: &Path, waiters: usize, duration: Duration) -> Result<Round> {
    let mut file = File::options().create_new(true).append(true).open(path).context("opening the log")?;
    let (queue, appends) = mpsc::channel::<Append>();
    let commits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&commits);
    let thread = thread::spawn(move || -> std::io::Result<()> {
        let mut bytes = Vec::new();
        while let Ok(first) = appends.recv() {
            let batch: Vec<Append> = std::iter::once(first).chain(appends.try_iter().take(4095)).collect();
            bytes.clear();
            batch.iter().for_each(|(record, _)| bytes.extend_from_slice(record));
            file.write_all(&bytes)?;
            file.sync_data()?;
            counted.fetch_add(1, Ordering::Relaxed);
            for (_, reply) in batch {
                let _ = reply.send(());
            }
        }
        Ok(())
    });
    let flushes = machine::disk_flushes(path);
    let (samples, _) = crowd.measure(waiters, |_client| {
        let queue = queue.clone();
        async move {
            let (mut tally, until) = (Tally::default(), Instant::now() + duration);
            while Instant::now() < until {
                let began = Instant::now();
                let (reply, answer) = oneshot::channel();
                queue.send(([7; LOG_RECORD_BYTES], reply)).context("the log's thread has ended")?;
                answer.await.context("the log's thread has ended")?;
                tally.add(began);
            }
            Ok(tally)
        }
    })?;
    let flushes = machine::disk_flushes(path).zip(flushes).map(|(after, before)| after - before);
    drop(queue);
    thread.join().expect("the log's thread does not panic")?;
    Ok(Round { commits: Some(commits.load(Ordering::Relaxed)), flushes, ..Round::of(samples) })
}

/// One round of the append log.
///
/// # Errors
/// If the file cannot be written.
pub fn log_round(bench: &Bench, clients: usize) -> Result<Round> {
    let folder = crate::scratch()?;
    append_log(&bench.crowd, &folder.path().join("log"), clients, bench.plan.duration / 2)
}

/// One round of the raw server.
///
/// # Errors
/// If it cannot be run.
pub fn hello_round(bench: &Bench, clients: usize) -> Result<Round> {
    let hello = Hello::start()?;
    let (address, mut plan) = (hello.address, bench.plan.clone());
    plan.duration /= 2;
    let me = std::process::id();
    let (host_cpu, client_cpu, began) = (machine::cpu_time(hello.child.id()), machine::cpu_time(me), Instant::now());
    let (samples, warm_up) = bench.crowd.measure(clients, |_| {
        let plan = plan.clone();
        async move {
            let mut connection = Connection::open(address).await?;
            let (mut tally, began) = (Tally::default(), Instant::now());
            let (from, until) = (began + plan.warm_up, began + plan.warm_up + plan.duration);
            loop {
                let began = Instant::now();
                let response = connection.get("/hello").await?;
                ensure!(response.status == 200, "{response:?}");
                if tally.add_between(began, from, until) {
                    return Ok(tally);
                }
            }
        }
    })?;
    let since = |before: Option<Duration>, process| Some(machine::cpu_time(process)? - before?);
    let client = since(client_cpu, me).map(|cpu| cpu.as_secs_f64() / began.elapsed().as_secs_f64());
    Ok(Round {
        operations: samples.len() + warm_up,
        samples: samples.within(plan.duration),
        cpu: since(host_cpu, hello.child.id()),
        client_cores: client,
        memory: machine::resident_memory(hello.child.id()),
        ..Round::default()
    })
}

/// The raw server, in a process of its own. Dropped, it is killed.
struct Hello {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

/// This program, even if a build has put another in its place since it began.
fn myself() -> Result<PathBuf> {
    let file = Path::new("/proc/self/exe");
    if file.exists() { Ok(file.to_owned()) } else { Ok(std::env::current_exe()?) }
}

impl Hello {
    fn start() -> Result<Self> {
        let folder = crate::scratch()?;
        let file = folder.path().join("address");
        let mut child = Command::new(myself()?)
            .arg("--serve-hello")
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .context("starting the raw server")?;
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(address) = fs::read_to_string(&file) {
                return Ok(Self { child, address: address.parse()?, _folder: folder });
            }
            if child.try_wait()?.is_some() || Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                bail!("the raw server does not listen");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves hello until the process is killed, on a runtime as the host's is.
///
/// # Errors
/// If nothing can be listened to.
pub fn serve(file: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let aside = file.with_extension("tmp");
        fs::write(&aside, listener.local_addr()?.to_string())?;
        fs::rename(&aside, file)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = |_request| async {
                let body = Full::new(Bytes::from_static(b"Hello!"));
                let response =
                    hyper::Response::builder().header("content-type", "text/plain; charset=utf-8").body(body);
                Ok::<_, Infallible>(response.expect("a valid header"))
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    })
}
