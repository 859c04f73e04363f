//! A host under test: a process of its own, that is never left behind.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Once, OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::net::TcpSocket;

use crate::{Client, PATIENCE, artifacts, eventually};

/// Keeps no guest resident in hosts that do not say otherwise: the value of `residentBytes`.
pub const RESIDENT_BYTES: &str = "SOLOIST_TEST_RESIDENT_BYTES";

/// How to start a host.
#[derive(Clone, Debug)]
pub struct HostBuilder {
    app: PathBuf,
    data: Option<PathBuf>,
    port: u16,
    settings: Vec<(String, String)>,
    arguments: Vec<String>,
    keys: bool,
    watches: bool,
    builds: bool,
    holds_key: bool,
    ready_file: Option<PathBuf>,
}

impl HostBuilder {
    /// Serves this app.
    #[must_use]
    pub fn app(mut self, app: &Path) -> Self {
        self.app = app.to_owned();
        self
    }

    /// Keeps its data in this folder, which outlives the host; else in one of its own.
    #[must_use]
    pub fn data(mut self, data: &Path) -> Self {
        self.data = Some(data.to_owned());
        self
    }

    /// Listens on this port; else on any that is free.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Overrides a value of host.json, for example `extensions.soloist.residentBytes`.
    #[must_use]
    pub fn set(mut self, path: &str, value: &str) -> Self {
        self.settings.push((format!("AzureFunctionsJobHost__{}", path.replace('.', "__")), value.to_owned()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks callers for keys: see [`Host::key`].
    #[must_use]
    pub fn with_keys(mut self) -> Self {
        self.keys = true;
        self
    }

    /// Watches its app's folder; the test app does not change.
    #[must_use]
    pub fn watching(mut self) -> Self {
        self.watches = true;
        self
    }

    /// Builds its app, at the start and when it changes.
    #[must_use]
    pub fn building(mut self) -> Self {
        self.builds = true;
        self
    }

    /// Asks callers for keys, and sends the master key with every request of this value's.
    #[must_use]
    pub fn with_keys_of_its_caller(mut self) -> Self {
        (self.keys, self.holds_key) = (true, true);
        self
    }

    /// Keeps no guest resident: every turn replays.
    #[must_use]
    pub fn without_residents(self) -> Self {
        self.set("extensions.soloist.residentBytes", "0")
    }

    /// Has the host write its ready file here.
    #[must_use]
    pub fn ready_file(mut self, file: &Path) -> Self {
        self.ready_file = Some(file.to_owned());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts the host and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready: the message has its log.
    pub async fn start(self) -> Host {
        allow_many_files();
        let app = tokio::task::spawn_blocking(artifacts::test_app);
        app.await.expect("the test app is built");
        let folder = Arc::new(tempfile::tempdir().expect("a temp folder"));
        let mut host = Host::spawn(self, folder, 0);
        host.wait_until_ready().await;
        host
    }

    /// Runs a host that is expected to end by itself, and returns what it said.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn refused(self) -> Output {
        tokio::task::spawn_blocking(artifacts::test_app).await.expect("the test app is built");
        let folder = tempfile::tempdir().expect("a temp folder");
        let data = self.data.clone().unwrap_or_else(|| folder.path().join("data"));
        let mut command = self.command(&data, &folder.path().join("ready"));
        // Ended with the future, should it not end by itself.
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("the host is started");
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        output.expect("the host ends by itself").expect("the host's output is read")
    }

    fn command(&self, data: &Path, ready_file: &Path) -> Command {
        let mut command = Command::new(artifacts::soloist());
        command
            .arg("start")
            .arg(&self.app)
            .args((!self.keys).then_some("--dev"))
            .args((!self.builds).then_some("--no-build"))
            .args((!self.watches).then_some("--no-watch"))
            .args(["--port", &self.port.to_string(), "--data"])
            .arg(data)
            .arg("--ready-file")
            .arg(self.ready_file.as_deref().unwrap_or(ready_file))
            .args(&self.arguments)
            .stdin(Stdio::null());
        // A slow machine may need long for all that a test asks at once: that is no reason to refuse any of it.
        command.env("AzureFunctionsJobHost__extensions__soloist__requestQueueSeconds", "200");
        if let Ok(bytes) = std::env::var(RESIDENT_BYTES) {
            command.env("AzureFunctionsJobHost__extensions__soloist__residentBytes", bytes);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A host under test. Dropping it kills it.
#[derive(Debug)]
pub struct Host {
    child: Child,
    builder: HostBuilder,
    folder: Arc<tempfile::TempDir>,
    run: u32,
    client: Client,
}

/// What an ended host left behind.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Its log.
    pub log: String,
}

impl std::ops::Deref for Host {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Host {
    /// A host of the test app on a free port with an empty data folder, to be changed before it starts.
    pub fn builder() -> HostBuilder {
        let app = artifacts::test_app_source();
        HostBuilder {
            app,
            data: None,
            port: 0,
            settings: vec![],
            arguments: vec![],
            keys: false,
            watches: false,
            builds: false,
            holds_key: false,
            ready_file: None,
        }
    }

    /// Starts a host of the test app.
    ///
    /// # Panics
    /// If it does not become ready.
    pub async fn start_default() -> Self {
        Self::builder().start().await
    }

    fn spawn(builder: HostBuilder, folder: Arc<tempfile::TempDir>, run: u32) -> Self {
        let own_data = folder.path().join("data");
        let data = builder.data.clone().unwrap_or(own_data);
        let file = |what: &str| folder.path().join(format!("{what}-{run}"));
        let create = |what: &str| fs::File::create(file(what)).expect("the temp folder is writable");
        let mut command = builder.command(&data, &file("ready"));
        let child = command.stdout(create("out")).stderr(create("log")).spawn().expect("the host is started");
        Self { child, builder, folder, run, client: Client::new("") }
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let ready = self.ready();
        let url = loop {
            if let Ok(url) = fs::read_to_string(&ready) {
                break url;
            }
            let ended = self.child.try_wait().expect("the host's state is known");
            let log = || fs::read_to_string(self.file("log")).unwrap_or_default();
            assert!(ended.is_none(), "the host ended with {ended:?} before it was ready:\n{}", log());
            assert!(Instant::now() < deadline, "the host does not become ready:\n{}", log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        self.client = Client::new(url.trim());
        if self.builder.holds_key {
            self.client = self.client.clone().with_key(&self.key("master _master"));
        }
    }

    fn ready(&self) -> PathBuf {
        self.builder.ready_file.clone().unwrap_or_else(|| self.file("ready"))
    }

    fn file(&self, what: &str) -> PathBuf {
        self.folder.path().join(format!("{what}-{}", self.run))
    }

    /// A client that may outlive this value.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The address, for clients of another kind.
    ///
    /// # Panics
    /// If the ready file is gone.
    pub fn address(&self) -> String {
        let url = fs::read_to_string(self.ready()).expect("the host is ready");
        url.trim().split_once("://").expect("a URL").1.to_owned()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file of its log.
    pub fn log_file(&self) -> PathBuf {
        self.file("log")
    }

    /// Its log so far.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.file("log")).expect("the log is a file")).into_owned()
    }

    /// Waits until its log holds a text; returns the log.
    ///
    /// # Panics
    /// If it does not come to that.
    pub async fn wait_for_log(&self, text: &str) -> String {
        eventually(&format!("the log tells {text:?}"), || async { Some(self.log()).filter(|log| log.contains(text)) })
            .await
    }

    /// The logs of every run in this data folder, the first to the last, this host's own included.
    ///
    /// # Panics
    /// If one cannot be read.
    pub fn logs(&self) -> Vec<String> {
        let log = |run| fs::read(self.folder.path().join(format!("log-{run}"))).expect("the log is a file");
        (0..=self.run).map(|run| String::from_utf8_lossy(&log(run)).into_owned()).collect()
    }

    /// What it printed so far: the list of functions.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn printed(&self) -> String {
        fs::read_to_string(self.file("out")).expect("the output is a file")
    }

    /// A key that was shown when a host of this data folder first started, by its title: `master _master`.
    ///
    /// # Panics
    /// If it was not shown.
    pub fn key(&self, title: &str) -> String {
        let shown = fs::read_to_string(self.folder.path().join("out-0")).expect("the output is a file");
        let line = shown.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(title)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no key {title} in:\n{shown}")).trim().to_owned()
    }

    /// What tells the commands of this host: its URL and, if it asks for keys, the one for the management API.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("SOLOIST_URL", format!("http://{}", self.address()))];
        if self.builder.keys {
            variables.push(("SOLOIST_KEY", self.key("system durabletask_extension")));
        }
        variables
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.builder.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// kill -9, at once.
    ///
    /// # Panics
    /// If it has ended before.
    pub fn kill9(&mut self) {
        let ended = self.child.try_wait().expect("the host's state is known");
        assert!(ended.is_none(), "the host ended before it was killed: {ended:?}\n{}", self.log());
        self.child.kill().expect("one may kill one's own child");
        self.child.wait().expect("the host's end is seen");
    }

    /// Starts a host with the same app, data and settings; this one must have ended.
    ///
    /// # Panics
    /// If it does not become ready.
    pub async fn restart(&mut self) {
        assert!(self.child.try_wait().expect("the host's state is known").is_some(), "the host still runs");
        let mut next = Self::spawn(self.builder.clone(), self.folder.clone(), self.run + 1);
        next.wait_until_ready().await;
        *self = next;
    }

    /// Sends a signal, such as `libc::SIGTERM`.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("process ids are small");
        // SAFETY: a plain system call; the child has not been waited for, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "{}", std::io::Error::last_os_error());
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// If it does not end in time.
    pub async fn ended(&mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the host's state is known") {
                return Ended { status, log: self.log() };
            }
            assert!(Instant::now() < deadline, "the host does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If it does not end in time, or with a status other than 0; where no guest may stay resident, if one did.
    pub async fn stop(&mut self) -> Ended {
        self.signal(libc::SIGTERM);
        let ended = self.ended().await;
        assert!(ended.status.success(), "{:?}\n{}", ended.status, ended.log);
        let own = self.builder.settings.iter().any(|(name, _)| name.ends_with("__residentBytes"));
        if !own && std::env::var(RESIDENT_BYTES).is_ok_and(|bytes| bytes == "0") {
            // As text, and as the log's JSON format has it.
            let none = [" resident_turns=0 ", r#""resident_turns":0,"#];
            assert!(none.iter().any(|none| ended.log.contains(none)), "a guest stayed resident:\n{}", ended.log);
        }
        ended
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read(self.file("log")).unwrap_or_default();
            let from = log.len().saturating_sub(8_000);
            eprintln!("the end of the host's log:\n{}", String::from_utf8_lossy(&log[from..]));
        }
    }
}

/// A port for a host that is to have the same one again. It is below those that the system gives to whoever asks for any, so
/// that nobody gets it while the host is down; and no other test of this process gets it.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Test processes that run at once begin at different ports.
    let random = || (RandomState::new().hash_one(std::process::id()) % u64::from(COUNT)) as u16;
    let next = NEXT.get_or_init(|| AtomicU16::new(random()));
    let mut ports = (0..COUNT).map(|_| FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

/// A port of 127.0.0.1 on which nobody listens for as long as this value lives.
#[derive(Debug)]
pub struct DeadPort {
    socket: TcpSocket,
}

impl DeadPort {
    /// Takes a port.
    ///
    /// # Panics
    /// If there is none.
    pub fn take() -> Self {
        let socket = TcpSocket::new_v4().expect("there are sockets");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free");
        Self { socket }
    }

    /// `http://127.0.0.1:<port>`.
    ///
    /// # Panics
    /// Never.
    pub fn url(&self) -> String {
        format!("http://{}", self.socket.local_addr().expect("it is bound"))
    }
}

/// A thousand clients need more files than many systems give by default. Hosts inherit what is allowed here.
fn allow_many_files() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: both calls are given a valid pointer.
        unsafe {
            if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
                limit.rlim_cur = limit.rlim_max.min(65_536);
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
            }
        }
    });
}
