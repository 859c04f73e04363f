//! What all measurements share: how long and how often, the host's program, the test app, and the raw limits of this run.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::{
    crowd::Crowd,
    guests, machine,
    process::{self, HostProcess},
    raw::Limits,
    report::{Figure, Report, Round, Samples},
};

/// How long and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    quick: bool,
    /// Rounds of each figure.
    pub rounds: usize,
    /// How long one round of a load is measured.
    pub duration: Duration,
    /// How long it runs before: connections, first compilations of queries, warm slots.
    pub warm_up: Duration,
    /// Numbers of ended instances that are stored.
    pub stored: Vec<usize>,
}

impl Plan {
    /// A plan.
    pub fn new(quick: bool, rounds: Option<u32>, stored: Vec<usize>) -> Self {
        let rounds = rounds.map_or(if quick { 1 } else { 3 }, |rounds| rounds as usize);
        let (duration, warm_up) = if quick { (200, 50) } else { (2_000, 300) };
        Self {
            quick,
            rounds,
            duration: Duration::from_millis(duration),
            warm_up: Duration::from_millis(warm_up),
            stored,
        }
    }

    /// This number, or another one where all is small.
    pub fn count(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// What a round did.
pub struct Work {
    /// What it timed.
    pub samples: Samples,
    /// Things done in all, those of the warm-up too.
    pub operations: usize,
}

impl From<Samples> for Work {
    fn from(samples: Samples) -> Self {
        Self { operations: samples.len(), samples }
    }
}

/// What all measurements share.
pub struct Bench {
    /// How long and how often.
    pub plan: Plan,
    /// The clients.
    pub crowd: Crowd,
    /// Where figures go.
    pub report: Report,
    /// The host's program.
    pub program: PathBuf,
    /// The test app's folder.
    pub app: PathBuf,
    /// Its component.
    pub component: PathBuf,
    cache: TempDir,
    limits: OnceCell<Limits>,
}

impl Bench {
    /// Builds the host, unless a program is given, and the test app.
    ///
    /// # Errors
    /// If something cannot be built, or the host does not start.
    pub fn new(plan: Plan, host: Option<PathBuf>, report: Report) -> Result<Self> {
        let program = match host {
            Some(program) => {
                ensure!(program.is_file(), "there is no program {}", program.display());
                program
            }
            None => {
                report.say("building the host");
                process::build()?
            }
        };
        report.say("building the test app");
        let component = guests::build_app()?;
        report.say(&format!("measuring {} with the app {}", program.display(), guests::app().display()));
        if cfg!(debug_assertions) {
            report.say("this is a debug build: its figures say nothing (cargo run --release -p soloist-bench)");
        }
        let bench = Self {
            plan,
            crowd: Crowd::new()?,
            report,
            program,
            app: guests::app(),
            component,
            cache: crate::scratch()?,
            limits: OnceCell::new(),
        };
        // Compiles the app's component for all that follow.
        bench.host("warn", &[])?.stop()?;
        Ok(bench)
    }

    /// The raw limits, measured when they are first asked for.
    ///
    /// # Errors
    /// If they cannot be measured.
    pub fn limits(&self) -> Result<&Limits> {
        if let Some(limits) = self.limits.get() {
            return Ok(limits);
        }
        let limits = Limits::measure(self)?;
        Ok(self.limits.get_or_init(|| limits))
    }

    /// A fresh host with an empty data folder; `settings` are values of host.json by their paths.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn host(&self, log_level: &str, settings: &[(&str, &str)]) -> Result<HostProcess> {
        HostProcess::start(&self.program, &self.app, self.cache.path(), log_level, settings)
    }

    /// A host of another app, or on data that is there already.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn host_on(&self, data: &Arc<TempDir>, app: &Path, settings: &[(&str, &str)]) -> Result<HostProcess> {
        HostProcess::start_on(Arc::clone(data), &self.program, app, self.cache.path(), "info", settings)
    }

    /// Runs as many rounds as are wanted.
    ///
    /// # Errors
    /// The first round's that fails.
    pub fn rounds(&self, mut round: impl FnMut(usize) -> Result<Round>) -> Result<Vec<Round>> {
        (0..self.plan.rounds).map(&mut round).collect()
    }

    /// Each round on a fresh host.
    ///
    /// # Errors
    /// If a host cannot be run, or does not do what it should.
    pub fn fresh_rounds(&self, log_level: &str, work: impl Fn(&HostProcess) -> Result<Work>) -> Result<Vec<Round>> {
        self.rounds(|_| self.round(self.host(log_level, &[])?, &work))
    }

    /// One round on this host, which ends with it: what the work took down, and what the host and this process used meanwhile.
    ///
    /// # Errors
    /// The work's, or if the host does not end well.
    pub fn round(&self, host: HostProcess, work: impl FnOnce(&HostProcess) -> Result<Work>) -> Result<Round> {
        let me = std::process::id();
        let (flushes, host_cpu) = (host.disk_flushes(), host.cpu());
        let (client_cpu, began) = (machine::cpu_time(me), Instant::now());
        let Work { samples, operations } = work(&host)?;
        let elapsed = began.elapsed();
        let client = machine::cpu_time(me).zip(client_cpu).map(|(after, before)| after - before);
        let memory = host.resident_memory();
        let cpu = host.cpu().zip(host_cpu).map(|(after, before)| after - before);
        let flushes = host.disk_flushes().zip(flushes).map(|(after, before)| after - before);
        let commits = host.stop()?;
        Ok(Round {
            samples,
            operations,
            commits,
            flushes,
            cpu,
            client_cores: client.map(|cpu| cpu.as_secs_f64() / elapsed.as_secs_f64().max(1e-9)),
            memory,
        })
    }

    /// Shows a figure.
    pub fn show(&self, figure: Figure) {
        self.report.show(figure);
    }
}
