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

/// How long a host may take to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Finds the host's program: it is built first, if cargo runs the benchmark, and lies beside this one.
///
/// # Errors
/// If it cannot be built, or is not there.
pub fn program() -> Result<PathBuf> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        // Together with this package: alone, its dependencies would be built again with fewer features.
        let packages = ["build", "--release", "--quiet", "-p", "soloist", "-p", "soloist-bench"];
        let built = Command::new(cargo).args(packages).status()?;
        ensure!(built.success(), "the host could not be built");
    }
    let program = std::env::current_exe()?.with_file_name("soloist");
    ensure!(program.is_file(), "no host at {}: cargo build --release -p soloist", program.display());
    Ok(program)
}

/// What a host did in its life.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Transactions that it made durable, if its log has that.
    pub commits: Option<u64>,
    /// CPU time that it used, if the system tells; other programs on the machine change it far less than they change rates.
    pub cpu: Option<Duration>,
}

impl Done {
    /// How many microseconds of CPU time each of so many things took, in words.
    pub fn cpu_each(&self, things: usize) -> String {
        let each =
            |cpu: Duration| format!("{:.0} us of the host's CPU each", cpu.as_secs_f64() * 1e6 / things.max(1) as f64);
        self.cpu.map_or(String::new(), each)
    }
}

/// A running host. Dropped, it is killed.
pub struct HostProcess {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    folder: Arc<tempfile::TempDir>,
    spawned: SystemTime,
    ready: SystemTime,
}

impl HostProcess {
    /// Starts a host for an app that is built; `cache` is a folder that keeps compiled components from one to the next.
    ///
    /// # Errors
    /// If it does not get ready.
    pub fn start(program: &Path, app: &Path, cache: &Path, log_level: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = super::scratch()?;
        let data = folder.path().join("data");
        copy_files(cache, &data.join("cache"))?;
        let host = Self::start_in(Arc::new(folder), program, app, log_level, settings)?;
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
        let spawned = wall_clock();
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
        let readied = wall_clock();
        let url = fs::read_to_string(&ready)?;
        let address = url.trim().trim_start_matches("http://").parse().with_context(|| format!("{url:?}"))?;
        Ok(Self { child, address, log, folder, spawned, ready: readied })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// When its process was made, and when it was ready for requests.
    pub fn began(&self) -> (SystemTime, SystemTime) {
        (self.spawned, self.ready)
    }

    /// How much memory it has in RAM, in bytes.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn resident_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }

    /// When each orchestration ended, as its log at level info tells.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn ends(&self) -> Result<Vec<SystemTime>> {
        let log = fs::read_to_string(&self.log)?;
        let ends = log.lines().filter(|line| line.contains("\"orchestration ended\""));
        ends.map(|line| {
            let line: serde_json::Value = serde_json::from_str(line)?;
            let time = line["timestamp"].as_str().context("a line has its time")?;
            Ok(SystemTime::from(time.parse::<jiff::Timestamp>()?))
        })
        .collect()
    }

    /// Ends it and returns what it has done.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn stop(mut self) -> Result<Done> {
        let cpu = cpu_time(self.child.id());
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
        ensure!(status.success(), "the host ended with {status}: see {}", self.folder.path().display());
        let log = fs::read_to_string(&self.log)?;
        let figures = log.lines().rev().find(|line| line.contains("task hub stops"));
        let figures = figures.and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        Ok(Done { commits: figures.and_then(|line| line["fields"]["commits"].as_u64()), cpu })
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

/// The CPU time of a process, in user and system mode: Linux counts it in hundredths of a second.
fn cpu_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(10 * ticks))
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
