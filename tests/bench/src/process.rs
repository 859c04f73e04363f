//! A host in a process of its own, with a data folder of its own: what an HTTP client meets.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};

use crate::machine;

/// How long a host may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds the host with the profile that this program was built with, and finds it beside this program.
///
/// # Errors
/// If it cannot be built, or is not there.
pub fn build() -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let profile = me.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or("release");
        let profile = if profile == "debug" { "dev" } else { profile };
        // Together with this package: alone, its dependencies would be built again with fewer features.
        let built = Command::new(cargo)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .args(["build", "--quiet", "--profile", profile, "-p", "soloist", "-p", "soloist-bench"])
            .status()?;
        ensure!(built.success(), "the host could not be built");
    }
    let program = me.with_file_name("soloist");
    ensure!(program.is_file(), "no host at {}: cargo build --release -p soloist", program.display());
    Ok(program)
}

/// A running host. Dropped, it is killed.
pub struct HostProcess {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    folder: Arc<tempfile::TempDir>,
    spawned: (Instant, SystemTime),
    ready: (Instant, SystemTime),
}

impl HostProcess {
    /// Starts a host for an app that is built; `cache` is a folder that keeps compiled components from one to the next.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn start(program: &Path, app: &Path, cache: &Path, log_level: &str, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_on(Arc::new(super::scratch()?), program, app, cache, log_level, settings)
    }

    /// The same with data that is there already, in folder `data` of this one.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn start_on(
        folder: Arc<tempfile::TempDir>,
        program: &Path,
        app: &Path,
        cache: &Path,
        log_level: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let data = folder.path().join("data");
        copy_files(cache, &data.join("cache"))?;
        let host = Self::start_in(folder, program, app, log_level, settings)?;
        copy_files(&data.join("cache"), cache)?;
        Ok(host)
    }

    /// Kills it as `kill -9` does and, after this time, starts it again on the same data.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn kill_and_start(mut self, dead_for: Duration, program: &Path, app: &Path, log_level: &str) -> Result<Self> {
        self.child.kill()?;
        self.child.wait()?;
        thread::sleep(dead_for);
        Self::start_in(Arc::clone(&self.folder), program, app, log_level, &[])
    }

    fn start_in(
        folder: Arc<tempfile::TempDir>,
        program: &Path,
        app: &Path,
        log_level: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let data = folder.path().join("data");
        let (ready, log) = (folder.path().join("ready"), folder.path().join("log"));
        if ready.exists() {
            fs::remove_file(&ready)?;
        }
        let spawned = (Instant::now(), wall_clock());
        let mut child = Command::new(program)
            .envs(
                settings
                    .iter()
                    .map(|(name, value)| (format!("AzureFunctionsJobHost__{}", name.replace('.', "__")), value)),
            )
            .args(["start", "--no-build", "--dev", "--port", "0", "--log-level", log_level, "--log-format", "json"])
            .arg("--data")
            .arg(&data)
            .arg("--ready-file")
            .arg(&ready)
            .arg(app)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let until = Instant::now() + PATIENCE;
        while !ready.exists() {
            if child.try_wait()?.is_some() || Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                bail!("the host did not get ready: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(1));
        }
        let readied = (Instant::now(), wall_clock());
        let url = fs::read_to_string(&ready)?;
        let address = url.trim().trim_start_matches("http://").parse().with_context(|| format!("{url:?}"))?;
        Ok(Self { child, address, log, folder, spawned, ready: readied })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// When its process was made, and when it was ready for requests, by the clock that its log has, too.
    pub fn began(&self) -> (SystemTime, SystemTime) {
        (self.spawned.1, self.ready.1)
    }

    /// When its process was made.
    pub fn spawned(&self) -> Instant {
        self.spawned.0
    }

    /// How long it took to be ready.
    pub fn took_to_start(&self) -> Duration {
        self.ready.0 - self.spawned.0
    }

    /// The CPU time that it has used, where the system tells; programs that run beside change it far less than they change
    /// rates.
    pub fn cpu(&self) -> Option<Duration> {
        machine::cpu_time(self.child.id())
    }

    /// How much memory it has in RAM, in bytes, where the system tells.
    pub fn resident_memory(&self) -> Option<u64> {
        machine::resident_memory(self.child.id())
    }

    /// The cache flushes of the disk that holds its data.
    pub fn disk_flushes(&self) -> Option<u64> {
        machine::disk_flushes(self.folder.path())
    }

    /// When each orchestration ended, as its log at level info tells.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn ends(&self) -> Result<Vec<SystemTime>> {
        self.logged("\"orchestration ended\"")
    }

    /// When each line with this text was logged.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn logged(&self, text: &str) -> Result<Vec<SystemTime>> {
        let log = fs::read_to_string(&self.log)?;
        // The last line may be half written.
        let whole = &log[..log.rfind('\n').unwrap_or(0)];
        let lines = whole.lines().filter(|line| line.contains(text));
        lines
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line)?;
                let time = line["timestamp"].as_str().context("a line has its time")?;
                Ok(SystemTime::from(time.parse::<jiff::Timestamp>()?))
            })
            .collect()
    }

    /// Ends it; how many transactions it made durable in its life, if its log tells.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn stop(mut self) -> Result<Option<u64>> {
        let ended = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(ended.success(), "the host has ended before it was told to");
        let until = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > until => bail!("the host does not end"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let log = fs::read_to_string(&self.log)?;
        ensure!(status.success(), "the host ended with {status}: {}", log.lines().next_back().unwrap_or_default());
        let figures = log.lines().rev().find(|line| line.contains("task hub stops"));
        let figures = figures.and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        Ok(figures.and_then(|line| line["fields"]["commits"].as_u64()))
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the log's times are compared with.
#[expect(clippy::disallowed_methods, reason = "it is the other process's clock, too")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// Copies the files of a folder that are not in the other yet; a folder that does not exist has none.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_file() && !target.exists() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
