//! The composition root: the only place that knows every part. It puts an app, storage, guests, a task hub and a server
//! together, and takes them apart in the right order.

mod admin;
mod check;
mod deploy;
mod live;
mod pressure;
mod routes;

pub use check::{Checked, check};

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures::future::BoxFuture;
use tracing::{error, info, warn};

use self::pressure::Pressure;
use crate::{
    ambient::{Ambient, System},
    app::{App, AuthLevel, Diagnostic, Excluded, Function, HostJson, Retry, Schedule, Trigger},
    durable::{FunctionName, Timestamp, TraceContext},
    flight::{self, Book, Recorder},
    hub::{Hub, HubConfig, HubParts, Retention, TimerFunction, TimerRetry},
    server::keys::{KeyError, KeyId, Keys, Made, Scope},
    server::{
        self, BodyStream, HttpFunctions, HttpInvocation, HttpReply, HttpStream, Server, ServerOptions, Services,
        Serving, Tls, TlsFiles,
    },
    storage::{Storage, StorageError, memory::Memory, sqlite::Sqlite},
    telemetry,
    wasm::{
        AppSettingTokens, AppSettings, HttpCall, HttpCallError, HttpRequest, HttpStreamCall, ManagementUrlsFor,
        StarterJson, TokenProviders, Wasm, WasmConfig,
    },
};
use deploy::Deployed;
use live::{Live, Routes};

pub use live::Reloaded;

/// The file, in the data folder, that holds the task hub.
pub const DATABASE: &str = "hub.db";

/// The folder, in the data folder, that holds compiled components.
pub const CACHE: &str = "cache";

/// The file, in the data folder, that a running host holds locked.
pub(crate) const LOCK: &str = "lock";

/// How many due entries are held in memory at least, if there are as many.
const DUE_PAGE: usize = 10_000;

/// What one resident guest is taken to hold, to turn the budget of bytes into a number of slots.
const RESIDENT_GUEST_BYTES: usize = 64 << 10;

/// The most guests that are kept resident: each takes memory mappings, of which a process has a limited number.
const RESIDENTS_MAX: usize = 4096;

/// How to run a host.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The app's folder.
    pub app: PathBuf,
    /// The data folder; none keeps everything in memory.
    pub data: Option<PathBuf>,
    /// Where to listen.
    pub address: IpAddr,
    /// The port; 0 takes any that is free.
    pub port: u16,
    /// Who may call.
    pub access: Access,
    /// The certificate for TLS; none takes the one that host.json names, if it does.
    pub tls: Option<TlsFiles>,
    /// Shows the operator the keys that this start makes. Called as soon as they are on disk: whatever keeps the host from
    /// starting then, they have been shown, once.
    pub show_keys: fn(&[Made]),
}

/// Who may call a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone who reaches it: for development.
    Everyone,
    /// Those who have a key.
    WithKeys,
}

/// A data folder that is this process's for as long as the value lives. Nothing stale is left behind by kill -9: the lock is
/// the kernel's.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: fs::File,
}

impl DataFolder {
    /// Takes a data folder, which is made if it does not exist.
    ///
    /// # Errors
    /// If another host holds it (its pid is named) or it cannot be written.
    pub fn take(path: &Path) -> anyhow::Result<Self> {
        use std::io::Write as _;
        Self::make(path)?;
        let lock_path = path.join(LOCK);
        let mut lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .with_context(|| format!("opening {}; the data folder must be writable", lock_path.display()))?;
        if lock.try_lock().is_err() {
            let holder = fs::read_to_string(&lock_path).unwrap_or_default();
            anyhow::bail!(
                "the data folder {} is in use by another host (pid {}); stop that one, or give this one a folder of its own \
                 with --data DIR",
                path.display(),
                holder.trim()
            );
        }
        lock.set_len(0)?;
        write!(lock, "{}", std::process::id())?;
        make_private(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Makes a data folder, if it does not exist, that only its owner can enter and that no repository takes in.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn make(path: &Path) -> anyhow::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("making the data folder {}; --data DIR names another", path.display()))?;
        let ignore = path.join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n").with_context(|| format!("writing {}", ignore.display()))?;
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its database is, if it has one.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Deletes everything that a host keeps in it.
    ///
    /// # Errors
    /// If a file cannot be deleted.
    pub fn clear(&self) -> anyhow::Result<()> {
        let own = [flight::FLIGHT, flight::BOOK].map(str::to_owned);
        for name in [DATABASE.to_owned(), format!("{DATABASE}-wal"), format!("{DATABASE}-shm")].into_iter().chain(own) {
            let file = self.path.join(name);
            if file.exists() {
                fs::remove_file(&file).with_context(|| format!("deleting {}", file.display()))?;
            }
        }
        let cache = self.path.join(CACHE);
        if cache.exists() {
            fs::remove_dir_all(&cache).with_context(|| format!("deleting {}", cache.display()))?;
        }
        Ok(())
    }
}

/// What a host keeps is its owner's alone, whoever made the folder and with which rights: payloads and histories are in it.
fn make_private(data: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let database = ["", "-wal", "-shm"].map(|end| format!("{DATABASE}{end}"));
    let others = [flight::FLIGHT, flight::BOOK].map(str::to_owned);
    for file in database.into_iter().chain(others).map(|name| data.join(name)) {
        let Ok(found) = fs::symlink_metadata(&file) else { continue };
        if !found.is_file() {
            anyhow::bail!(
                "{} is no plain file; give this host a data folder of its own with --data DIR",
                file.display()
            );
        }
        if found.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))
                .with_context(|| format!("making {} private; it must be this user's", file.display()))?;
            warn!(file = %file.display(), "other users could read what is stored: it is private again");
        }
    }
    let mode = fs::metadata(data)?.permissions().mode();
    if mode & 0o022 != 0 {
        // Not refused: volumes of containers are like that, and nobody else is there.
        warn!(
            folder = %data.display(),
            "other users can write to the data folder, and so put their keys in the place of this host's: chmod go-w it"
        );
    }
    Ok(())
}

/// What `start` shows of a function that is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name.
    pub name: String,
    /// Its bindings, for example `req: httpTrigger`.
    pub bindings: Vec<String>,
    /// Its methods and route, for an HTTP function.
    pub route: Option<(String, String)>,
    /// Its schedule and the next occurrence, for a timer function.
    pub schedule: Option<String>,
}

/// A running host.
pub struct Host {
    hub: Arc<Hub>,
    storage: Arc<dyn Storage>,
    serving: Serving,
    served: Vec<Served>,
    excluded: Vec<Excluded>,
    live: Live,
    tls: Option<Tls>,
    warnings: Vec<Diagnostic>,
    app_root: PathBuf,
    _data: Option<DataFolder>,
}

impl Host {
    /// Starts a host: when it returns, requests are answered.
    ///
    /// # Errors
    /// One message that names what is wrong and the remedy: the app's folder or host.json, the port, the data folder, its
    /// database.
    pub async fn start(options: &HostOptions) -> anyhow::Result<Self> {
        let app = App::load(&options.app, crate::app::process_environment())?;
        let tls = options.tls.clone().or_else(|| tls_files(&app)).map(Tls::load).transpose()?;
        let server = Server::bind(options.address, options.port)?;
        let data = options.data.as_deref().map(DataFolder::take).transpose()?;
        // Before storage: a damaged file of keys costs nothing to find.
        let keys = match options.access {
            Access::Everyone => None,
            Access::WithKeys => Some(Arc::new(open_keys(data.as_ref())?)),
        };
        if let Some(keys) = &keys {
            let made = keys.ensure(&wanted_keys(&app.functions)).context("making the keys that are missing")?;
            (options.show_keys)(&made);
        }
        let storage: Arc<dyn Storage> = match &data {
            Some(data) => Arc::new(Sqlite::open(&data.database())?),
            None => Arc::new(Memory::new()),
        };
        let warnings = live::warnings_of(&app);
        for finding in &warnings {
            warn!(code = %finding.code, place = %finding.origin, finding = %finding.message, "found in the app");
        }
        let (recorder, mut book) = match &data {
            Some(data) => flight::open(&data.path),
            None => (Arc::new(Recorder::off()), Book::default()),
        };
        if data.is_some() {
            // Before the engine, whose handlers of signals must come first.
            flight::install(&recorder).context("handling the signals that end a process")?;
        }
        let server_options = ServerOptions { tls: tls.clone(), ..server_options(&app) };
        let starter = starter_json(&server_options, server.local_addr(), keys.clone());
        let settings: AppSettings = app.settings.values().into_iter().collect();
        let wasm = Wasm::new(wasm_config(&app, &settings, data.as_ref(), &storage, &recorder, starter))?;
        info!(
            resident_bytes = app.host_json.soloist.resident_bytes,
            guests_max = wasm.residents_max(),
            guests_at_once = wasm.guests_max(),
            memory_mappings_max = wasm.mappings_max(),
            "orchestrators stay in memory between turns within these bounds"
        );
        let mut deployed = Deployed::prepare(&app, &wasm, &[]).await;
        deployed.store(&storage).await?;
        wasm.activate(deployed.take_prepared());
        let mut excluded = app.excluded.clone();
        excluded.append(&mut deployed.excluded);
        let functions = deployed.functions();
        if book.deploy(deployed.unresumable())
            && let Err(error) = book.save()
        {
            warn!(file = flight::BOOK, %error, "which components run cannot be kept: a parked entity may stay parked");
        }
        let stored = storage.components().await.context("reading which components are stored")?;
        wasm.tidy_cache(deployed.components().into_iter().chain(stored).collect()).await;
        let hub = Hub::start(HubParts {
            storage: storage.clone(),
            executor: wasm.clone(),
            ambient: Arc::new(System) as Arc<dyn Ambient>,
            functions: deployed.registered(),
            config: hub_config(&app.host_json, &wasm),
            recorder,
            book,
        });
        wasm.set_hub(hub.clone());
        let served = functions.iter().map(|function| served(function, &app.host_json)).collect();
        let routes = Routes::new(routes::find_route(&app, &deployed.served), routes::find_error(&app, &excluded));
        let pages = Arc::new(admin::AppPages::new(&app, &functions, &excluded, wasm.clone(), hub.clone()));
        let services = Services {
            client: hub.clone(),
            routes: routes.find(),
            // Whoever may reach this host without a key is its developer.
            errors: (options.access == Access::Everyone).then(|| routes.find_error()),
            app: pages.clone(),
            functions: Arc::new(Guests {
                wasm: wasm.clone(),
                hub_name: app.host_json.durable_task.hub_name.clone(),
                keys: keys.clone(),
            }),
            keys: keys.clone(),
        };
        // Last: a request must find everything in place. A timer function's may be to this host.
        let serving = server.serve(services, server_options).context("serving")?;
        hub.run_timers(timer_functions(&functions));
        let parts = live::Parts { wasm, hub: hub.clone(), storage: storage.clone(), keys, routes, pages, settings };
        let begun = live::Served { functions: deployed.served, errors: excluded.clone() };
        let app_root = app.root.clone();
        let live = Live::new(parts, options, app, begun);
        Ok(Self { hub, storage, serving, served, excluded, live, tls, warnings, app_root, _data: data })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.serving.local_addr()
    }

    /// The URL of where it listens.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.local_addr())
    }

    /// True if it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads the certificate's files again, if it has one. If they cannot be used, it stays as it is, and the log says why.
    pub fn reload_certificate(&self) {
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// The functions that were served when it started.
    pub fn served(&self) -> &[Served] {
        &self.served
    }

    /// The functions that were in error when it started.
    pub fn excluded(&self) -> &[Excluded] {
        &self.excluded
    }

    /// Reads the app's folder again and serves what is there now: functions, routes, settings. No connection ends, no request
    /// and no orchestration either: each goes on with what it began with. A function that is in error now and was not before
    /// goes on as it was.
    ///
    /// # Errors
    /// If the app cannot be loaded at all, or storage not be written: then everything is as before.
    pub async fn reload(&self) -> anyhow::Result<Reloaded> {
        self.live.reload().await
    }

    /// What was found in the app beside: it is served, and probably not as it was meant.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The app's folder.
    pub fn app_root(&self) -> &Path {
        &self.app_root
    }

    /// Waits until storage has failed for good.
    pub async fn failed(&self) -> StorageError {
        self.hub.failed().await
    }

    /// Stops: requests in work may end for at most `grace`, orchestrations are not waited for; they go on at the next start.
    pub async fn stop(self, grace: Duration) {
        let cut = self.serving.shutdown(grace).await;
        if cut > 0 {
            warn!(connections = cut, "connections were cut: their requests did not end in time");
        }
        self.hub.stop();
        if let Err(error) = self.storage.close().await {
            error!(%error, "storage could not be closed cleanly");
        }
    }
}

fn open_keys(data: Option<&DataFolder>) -> Result<Keys, KeyError> {
    match data {
        Some(data) => Keys::open(data.path()),
        None => Ok(Keys::in_memory()?),
    }
}

/// The keys that a host has from the beginning.
fn wanted_keys(functions: &[Function]) -> Vec<KeyId> {
    let own =
        functions.iter().filter(|function| function.http().is_some_and(|http| http.auth_level == AuthLevel::Function));
    let own = own.map(|function| KeyId::default_of(Scope::function(&function.name)));
    [KeyId::master(), KeyId::default_of(Scope::Host), KeyId::durable_task()].into_iter().chain(own).collect()
}

/// The starter JSON that functions are handed, with the key of the moment. They may print it: what is secret in it is concealed
/// from the log.
fn starter_json(options: &ServerOptions, local: SocketAddr, keys: Option<Arc<Keys>>) -> StarterJson {
    telemetry::conceal_digits_after(server::LINK_PREFIX);
    if let Some(secret) = &options.rpc_secret {
        telemetry::conceal(secret.reveal());
    }
    let options = options.clone();
    Arc::new(move || {
        let key = keys.as_ref().map(|keys| keys.template_key());
        if let Some(key) = &key {
            telemetry::conceal(key.reveal());
        }
        options.starter_json(local, key.as_ref())
    })
}

fn wasm_config(
    app: &App,
    settings: &AppSettings,
    data: Option<&DataFolder>,
    storage: &Arc<dyn Storage>,
    recorder: &Arc<Recorder>,
    starter: StarterJson,
) -> WasmConfig {
    let soloist = &app.host_json.soloist;
    let durable = &app.host_json.durable_task;
    let http = &app.host_json.http;
    let storage = storage.clone();
    WasmConfig {
        cache: data.map(|data| data.path.join(CACHE)),
        cpu_limit: soloist.guest_cpu,
        memory_bytes_max: size(soloist.guest_memory_bytes),
        response_bytes_max: size(soloist.max_response_bytes),
        payload_bytes_max: size(soloist.max_payload_bytes),
        component_bytes_max: soloist.max_component_bytes,
        json_depth_max: soloist.json_depth,
        // Both bound the same: the smaller one counts.
        requests_max: http.max_concurrent_requests.unwrap_or(usize::MAX).min(soloist.max_concurrent_guests),
        outstanding_max: http.max_outstanding_requests,
        request_wait: soloist.request_queue,
        activities_max: durable.max_concurrent_activity_functions,
        entities_max: durable.max_concurrent_entity_functions,
        turns_max: durable.max_concurrent_orchestrator_functions,
        residents_max: (size(soloist.resident_bytes) / RESIDENT_GUEST_BYTES).min(RESIDENTS_MAX),
        function_timeout: app.host_json.function_timeout,
        outbound_allow: soloist.outbound_allow.clone(),
        tokens: TokenProviders::default()
            .with(AppSettingTokens::KIND, Arc::new(AppSettingTokens::new(settings.clone()))),
        settings: settings.clone(),
        durable_client: Some(starter),
        component_bytes: Arc::new(move |digest| {
            let storage = storage.clone();
            Box::pin(async move { storage.component(digest).await.ok().flatten() })
        }),
        history_json: Some(server::history_events),
        recorder: recorder.clone(),
    }
}

fn hub_config(host_json: &HostJson, wasm: &Wasm) -> HubConfig {
    let durable = &host_json.durable_task;
    HubConfig {
        policy: durable.overridable_existing_instance_states,
        concurrent_activities: durable.max_concurrent_activity_functions,
        concurrent_turns: wasm.turns_max(),
        concurrent_entities: durable.max_concurrent_entity_functions,
        entity_batch_max: durable.max_entity_operation_batch_size,
        actions_max: u32::try_from(durable.max_orchestration_actions).unwrap_or(u32::MAX),
        resident_bytes: size(host_json.soloist.resident_bytes),
        residents_max: wasm.residents_max(),
        due_page: DUE_PAGE,
        function_timeout: host_json.function_timeout,
        http_poll_wait: durable.default_async_request_sleep_time,
        retention: Retention {
            completed: host_json.soloist.retention.completed,
            failed: host_json.soloist.retention.failed,
            terminated: host_json.soloist.retention.terminated,
        },
    }
}

/// The certificate that host.json names.
fn tls_files(app: &App) -> Option<TlsFiles> {
    let tls = app.host_json.soloist.tls.as_ref()?;
    Some(TlsFiles { certificate: app.root.join(&tls.certificate_file), key: app.root.join(&tls.key_file) })
}

fn server_options(app: &App) -> ServerOptions {
    let host_json = &app.host_json;
    ServerOptions {
        cors: app.cors().cloned(),
        hsts: host_json.http.hsts.clone(),
        overload: host_json.http.dynamic_throttles.then(|| {
            let pressure = Pressure::new();
            Arc::new(move || pressure.reason()) as server::Overload
        }),
        hub_name: host_json.durable_task.hub_name.clone(),
        max_request_bytes: host_json.soloist.max_request_bytes,
        json_depth_max: host_json.soloist.json_depth,
        custom_headers: host_json.http.custom_headers.clone().into_iter().collect(),
        use_forwarded_host: host_json.durable_task.use_forwarded_host,
        azure_status_codes: host_json.soloist.azure_status_codes,
        rpc_secret: Some(server::RpcSecret::new(&(System.fresh_id() + &System.fresh_id()))),
        allowed_hosts: host_json.soloist.allowed_hosts.clone(),
        ..ServerOptions::default()
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn served(function: &Function, host_json: &HostJson) -> Served {
    let methods =
        function.http().map(|http| if http.methods.is_empty() { "any".to_owned() } else { http.methods.join(",") });
    let route = methods.zip(route_of(function, host_json));
    let schedule = match &function.trigger {
        Trigger::Timer(timer) => Some(schedule_line(&timer.schedule, System.now())),
        Trigger::Http(_) | Trigger::Orchestration { .. } | Trigger::Activity { .. } | Trigger::Entity { .. } => None,
    };
    Served { name: function.name.clone(), bindings: function.bindings(), route, schedule }
}

/// The path of an HTTP function, with the prefix.
fn route_of(function: &Function, host_json: &HostJson) -> Option<String> {
    let path = [host_json.http.route_prefix.as_str(), function.http()?.route.as_str()];
    let path: Vec<&str> = path.into_iter().map(|part| part.trim_matches('/')).filter(|part| !part.is_empty()).collect();
    Some(format!("/{}", path.join("/")))
}

fn schedule_line(schedule: &Schedule, now: Timestamp) -> String {
    let next = schedule.next(now, now).and_then(|next| jiff::Timestamp::from_second(next.0 / 1_000_000).ok());
    let next = next.map_or("never".to_owned(), |next| next.to_string());
    format!("{schedule} (next: {next})")
}

/// The timer functions among these, as the hub fires them.
fn timer_functions(functions: &[Function]) -> Vec<TimerFunction> {
    let timer = |function: &Function| {
        let Trigger::Timer(timer) = &function.trigger else { return None };
        let schedule = timer.schedule.clone();
        Some(TimerFunction {
            name: FunctionName::new(&function.name),
            schedule: schedule.fingerprint(),
            is_monitored: timer.use_monitor && schedule.can_be_monitored(System.now()),
            run_on_startup: timer.run_on_startup,
            adjust_for_dst: schedule.adjusts_for_dst(),
            retry: function.retry.map(timer_retry),
            next: Arc::new(move |last, now| schedule.next(last, now)),
        })
    };
    functions.iter().filter_map(timer).collect()
}

fn timer_retry(retry: Retry) -> TimerRetry {
    match retry {
        Retry::FixedDelay { max_retry_count, delay } => {
            TimerRetry { max_retry_count, first_wait: delay, max_wait: delay }
        }
        Retry::ExponentialBackoff { max_retry_count, minimum_interval, maximum_interval } => {
            TimerRetry { max_retry_count, first_wait: minimum_interval, max_wait: maximum_interval }
        }
    }
}

/// The server's port to guests.
struct Guests {
    wasm: Arc<Wasm>,
    hub_name: String,
    keys: Option<Arc<Keys>>,
}

impl HttpFunctions for Guests {
    fn call(&self, invocation: HttpInvocation) -> BoxFuture<'_, Result<HttpReply, server::HttpCallError>> {
        Box::pin(async move {
            let call = HttpCall {
                function: FunctionName::new(&invocation.function),
                invocation_id: invocation.invocation_id,
                request: HttpRequest {
                    method: invocation.method,
                    url: invocation.url,
                    params: invocation.params,
                    query: invocation.query,
                    trace_context: trace_context(&invocation.headers),
                    headers: invocation.headers,
                    body: invocation.body.into(),
                },
                urls: Some(self.urls(&invocation.origin)),
            };
            match self.wasm.call_http(call).await {
                Ok(reply) => Ok(HttpReply { status: reply.status, headers: reply.headers, body: reply.body.into() }),
                Err(error) => Err(refused(&invocation.function, error)),
            }
        })
    }

    fn stream(&self, stream: HttpStream) -> BoxFuture<'_, Result<http::Response<BodyStream>, server::HttpCallError>> {
        Box::pin(async move {
            let HttpStream { function, request, invocation_id, origin } = stream;
            let call = HttpStreamCall {
                function: FunctionName::new(&function),
                invocation_id,
                is_tls: origin.as_str().starts_with("https:"),
                trace_context: trace_context_of(request.headers()),
                urls: Some(self.urls(&origin)),
                request,
            };
            let response = self.wasm.stream_http(call).await.map_err(|error| refused(&function, error))?;
            Ok(response.map(BodyStream::new))
        })
    }
}

impl Guests {
    /// The URLs of instances, for a caller that reached this host so.
    fn urls(&self, origin: &server::Origin) -> ManagementUrlsFor {
        let signer = self.keys.as_ref().map(|keys| keys.signer());
        let urls = server::ManagementUrls::new(origin, &self.hub_name, signer);
        Arc::new(move |id, creation| guest_urls(urls.for_instance(id, creation), id))
    }
}

fn refused(function: &str, error: HttpCallError) -> server::HttpCallError {
    match error {
        HttpCallError::Throttled(_) | HttpCallError::Outstanding(_) => {
            server::HttpCallError::Throttled { retry_after: Duration::from_secs(1) }
        }
        HttpCallError::Guest(_) => server::HttpCallError::Failed,
        HttpCallError::NotDeployed(_) => server::HttpCallError::NotFound,
        HttpCallError::Unavailable(text) => {
            error!(%function, reason = %text, "no guest for a request");
            server::HttpCallError::Unavailable
        }
    }
}

fn trace_context_of(headers: &http::HeaderMap) -> Option<TraceContext> {
    let find = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    Some(TraceContext { traceparent: find("traceparent")?, tracestate: find("tracestate") })
}

fn trace_context(headers: &[(String, String)]) -> Option<TraceContext> {
    let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    Some(TraceContext { traceparent: find("traceparent")?, tracestate: find("tracestate") })
}

fn guest_urls(urls: server::InstanceUrls, id: &str) -> crate::wasm::ManagementUrls {
    crate::wasm::ManagementUrls {
        id: id.to_owned(),
        status_query_get_uri: urls.status_query_get_uri,
        send_event_post_uri: urls.send_event_post_uri,
        terminate_post_uri: urls.terminate_post_uri,
        rewind_post_uri: urls.rewind_post_uri,
        purge_history_delete_uri: urls.purge_history_delete_uri,
        restart_post_uri: urls.restart_post_uri,
        suspend_post_uri: urls.suspend_post_uri,
        resume_post_uri: urls.resume_post_uri,
    }
}
