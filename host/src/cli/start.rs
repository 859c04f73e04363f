//! `soloist start`: builds and serves an app until a signal comes.

use std::{
    convert::Infallible,
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, level_filters::LevelFilter, warn};

use super::{build, keys, watch::Watch};
use crate::{
    app::{self, AppError, HostJson, LogThreshold},
    host::{Access, Host, HostOptions},
    memory,
    server::{TlsFiles, keys::Made},
    telemetry::{self, Categories, LogFormat, LogLevel, Logged},
};

/// How long requests in work may take to end once a signal has come.
const DRAIN: Duration = Duration::from_secs(10);

/// `soloist start`.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The app's folder
    #[arg(default_value = ".")]
    app: PathBuf,
    /// The port to listen on; 0 takes any that is free
    #[arg(long, default_value_t = 7071)]
    port: u16,
    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Where instances are kept [default: APP/.soloist]
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data: Option<PathBuf>,
    /// Keep instances in memory: they are gone when the host ends
    #[arg(long)]
    ephemeral: bool,
    /// Build the Rust functions of the app first (the default)
    #[arg(long, overrides_with = "no_build")]
    build: bool,
    /// Serve components as they are, without building
    #[arg(long)]
    no_build: bool,
    /// Do not watch the app's folder: what changes there is served by the next start
    #[arg(long)]
    no_watch: bool,
    /// For development: no keys are asked for, on loopback addresses only. Without it callers need a key (see `soloist keys`)
    #[arg(long)]
    dev: bool,
    /// Speak TLS with this certificate (PEM, the host's own first), and nothing else [host.json: extensions.soloist.tls]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM, not encrypted); both files are read again when they change, or on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Write the host's URL to this file once it is ready
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// What to log: off, error, warn, info, debug, trace, or directives such as warn,soloist::hub=debug [default: as
    /// logging.logLevel of host.json says, else info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// How to log
    #[arg(long, default_value = "text")]
    log_format: LogFormat,
}

impl Start {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        self.check()?;
        telemetry::init(&self.logged(), self.log_format)?;
        bound_arenas();
        if self.is_build_wanted() {
            build_first(&self.app)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("soloist").build()?;
        let code = runtime.block_on(self.serve(began))?;
        // Guests that ignore the end and threads that wait for a disk are not waited for: what was acknowledged is durable.
        runtime.shutdown_background();
        Ok(code)
    }

    /// What is logged. Whatever is wrong with `host.json` is told when the app is read.
    fn logged(&self) -> Logged {
        match &self.log_level {
            Some(level) => Logged::Level(level.clone()),
            None => {
                let levels = HostJson::as_it_is(&self.app, app::process_environment()).log_levels;
                let levels = levels.into_iter().map(|(category, threshold)| (category, filter_of(threshold)));
                Logged::Categories(Categories::new(levels))
            }
        }
    }

    fn is_build_wanted(&self) -> bool {
        self.build || !self.no_build
    }

    fn check(&self) -> anyhow::Result<()> {
        super::check_app_folder(&self.app)?;
        anyhow::ensure!(
            !self.dev || self.address.is_loopback(),
            "--dev serves without keys, therefore on loopback addresses only: {} is none; leave --address out, name \
             127.0.0.1 or ::1, or leave --dev out",
            self.address
        );
        Ok(())
    }

    async fn serve(self, began: Instant) -> anyhow::Result<ExitCode> {
        // Before anything that could be interrupted.
        let mut signals = Signals::new()?;
        let data = (!self.ephemeral).then(|| super::data_folder(&self.app, self.data.clone()));
        let options = HostOptions {
            app: self.app.clone(),
            data: data.clone(),
            address: self.address,
            port: self.port,
            tls: self
                .tls_cert
                .clone()
                .zip(self.tls_key.clone())
                .map(|(certificate, key)| TlsFiles { certificate, key }),
            access: if self.dev { Access::Everyone } else { Access::WithKeys },
            show_keys: |made| print!("{}", key_listing(made)),
        };
        let watch = if self.no_watch { None } else { Watch::begin(&self.app, data.as_deref()) };
        let host = tokio::select! {
            biased;
            () = signals.next() => return Ok(ExitCode::SUCCESS),
            host = Host::start(&options) => host.inspect_err(|error| tell_others(error, &self.app))?,
        };
        if !self.address.is_loopback() && !host.is_tls() {
            warn!(
                address = %self.address,
                "requests and their keys are not encrypted: give this host a certificate (--tls-cert and --tls-key), or put a \
                 proxy with TLS before it"
            );
        }
        self.announce(&host, data.as_deref(), began);
        // Of what start-up took much is not needed again.
        memory::give_back();
        // Last: whoever waited for it finds everything printed.
        self.write_ready_file(&host)?;
        tokio::select! {
            biased;
            error = host.failed() => {
                error!(%error, "the host must end; everything acknowledged is recovered at its next start");
                eprintln!("error: {error}");
                return Ok(ExitCode::FAILURE);
            }
            () = signals.next() => {}
            never = self.follow(&host, watch) => match never {},
            () = reload_on_hangup(&host) => {}
        }
        info!("stopping: requests in work may end, orchestrations go on at the next start");
        tokio::select! {
            biased;
            () = host.stop(DRAIN) => {}
            () = signals.next() => info!("stopped at once, on a second signal"),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Serves what changes in the app's folder, if it is watched.
    async fn follow(&self, host: &Host, watch: Option<Watch>) -> Infallible {
        match watch {
            Some(watch) => watch.follow(host, self.is_build_wanted()).await,
            None => std::future::pending().await,
        }
    }

    /// Says what is served, and that it is.
    fn announce(&self, host: &Host, data: Option<&Path>, began: Instant) {
        let url = host.url();
        print!("{}", listing(host, &url));
        let keeps = data.map_or("in memory".to_owned(), |data| format!("in {}", data.display()));
        if self.dev {
            println!("instances are kept {keeps}; no keys are asked for (--dev)");
        } else {
            println!("instances are kept {keeps}; callers need a key");
        }
        println!("ready in {:.2} s on {url}", began.elapsed().as_secs_f64());
    }

    fn write_ready_file(&self, host: &Host) -> anyhow::Result<()> {
        let url = host.url();
        if let Some(file) = &self.ready_file {
            // Beside it and renamed: whoever waits for the file never reads half of it.
            let aside = file.with_extension("tmp");
            write_anew(&aside, &format!("{url}\n"))
                .and_then(|()| fs::rename(&aside, file))
                .with_context(|| format!("writing the ready file {}", file.display()))?;
        }
        Ok(())
    }
}

/// From which level on a threshold lets lines pass.
fn filter_of(threshold: LogThreshold) -> LevelFilter {
    match threshold {
        LogThreshold::Trace => LevelFilter::TRACE,
        LogThreshold::Debug => LevelFilter::DEBUG,
        LogThreshold::Information => LevelFilter::INFO,
        LogThreshold::Warning => LevelFilter::WARN,
        LogThreshold::Error | LogThreshold::Critical => LevelFilter::ERROR,
        LogThreshold::None => LevelFilter::OFF,
    }
}

/// Reads the certificate again at each SIGHUP, for ever. Without TLS that signal ends the process, as it always does.
async fn reload_on_hangup(host: &Host) {
    let hangup = host.is_tls().then(|| signal(SignalKind::hangup()));
    match hangup {
        Some(Ok(mut hangup)) => {
            while hangup.recv().await.is_some() {
                host.reload_certificate();
            }
        }
        Some(Err(error)) => {
            warn!(%error, "SIGHUP cannot be waited for: the certificate is read again when its files change")
        }
        None => {}
    }
    std::future::pending().await
}

/// Writes a file of its own: what is there is removed, and a link that somebody put there is not followed.
fn write_anew(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
}

/// Lets the C library's allocator have two arenas. Its default is eight per core, each of which keeps what it was given: with
/// 50,000 instances 20 MB more in RAM, at the same CPU time per orchestration.
fn bound_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: a plain call of the C library, which takes two numbers.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

fn build_first(app: &Path) -> anyhow::Result<()> {
    build::build(app, &mut |line| eprintln!("{line}"))
        .context("building the app's functions; say --no-build to serve components that are built already")?;
    Ok(())
}

/// Tells what else is wrong with an app that cannot be started, beside the error that is told anyway.
fn tell_others(error: &anyhow::Error, root: &Path) {
    let Some(error) = error.downcast_ref::<AppError>() else { return };
    let root = error.app.as_ref().map_or(root, |app| &app.root);
    let told = error.to_string();
    for other in error.report.diagnostics().iter().filter(|other| other.to_string() != told) {
        eprintln!("also {}: {}", other.severity().as_str(), super::report::short(other, root));
    }
    eprintln!("`soloist check` shows each with its place and what helps");
}

fn listing(host: &Host, url: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let width = host.served().iter().map(|function| function.name.len()).max().unwrap_or(0);
    let _ = writeln!(text, "functions:");
    for function in host.served() {
        let what = match &function.route {
            Some((methods, path)) => format!("{methods} {url}{path}"),
            None => function.schedule.clone().unwrap_or_default(),
        };
        // A route may hold anything.
        let what = super::manage::printable(&what);
        let bindings = function.bindings.join(", ");
        let gap = if what.is_empty() { "" } else { "  " };
        let _ = writeln!(text, "  {:width$}  {what}{gap}({bindings})", function.name);
    }
    if host.served().is_empty() {
        let _ = writeln!(text, "  none");
    }
    if !host.excluded().is_empty() {
        let _ = writeln!(text, "excluded:");
        for excluded in host.excluded() {
            // Names are a stranger's: no escape sequence of theirs reaches a terminal.
            let _ = writeln!(text, "  {} {}", excluded.code, super::manage::printable(&excluded.to_string()));
        }
    }
    if !host.warnings().is_empty() {
        let _ = writeln!(text, "warnings:");
        for warning in host.warnings() {
            let _ = writeln!(text, "  {}", super::report::short(warning, host.app_root()));
        }
    }
    if !host.excluded().is_empty() || !host.warnings().is_empty() {
        let _ = writeln!(text, "`soloist check` shows each with its place and what helps");
    }
    text
}

/// The keys that were made at this start. The one place where they are shown: the log never has them.
fn key_listing(made: &[Made]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let keys: Vec<_> = made.iter().map(|made| (keys::title(&made.id), made.value.reveal())).collect();
    if keys.is_empty() {
        return text;
    }
    let width = keys.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    let _ = writeln!(text, "new keys (only their digests are kept: this is the only time that they are shown):");
    for (title, value) in keys {
        let _ = writeln!(text, "  {title:width$}  {value}");
    }
    text
}

/// The signals that end a host.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
