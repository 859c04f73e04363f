//! Components: compiled once, by digest, off the serving threads, and cached on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Instant,
};

use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker},
};

use wasmtime_wasi_http::p2::bindings::exports::wasi::http::incoming_handler;

use super::{
    ComponentBytes,
    contract::exports,
    guest::GuestState,
    inspect::{self, ComponentInfo, LoadError},
    wasi,
};
use crate::durable::Digest;

/// Begins every cache entry; its number changes with the layout.
const CACHE_MAGIC: &[u8] = b"soloist-compiled 1\n";

/// A component that is ready to make guests.
pub(super) struct Compiled {
    pub(super) digest: Digest,
    pub(super) info: ComponentInfo,
    /// Makes guests of HTTP functions, activities and timers.
    pub(super) effects: InstancePre<GuestState>,
    /// Makes guests of orchestrators and entities.
    pub(super) deterministic: InstancePre<GuestState>,
    pub(super) http_function: Option<exports::http_function::GuestIndices>,
    /// For components that speak HTTP themselves.
    pub(super) incoming_handler: Option<incoming_handler::GuestIndices>,
    pub(super) activity: Option<exports::activity::GuestIndices>,
    pub(super) orchestrator: Option<exports::orchestrator::GuestIndices>,
    pub(super) timer_function: Option<exports::timer_function::GuestIndices>,
    pub(super) entity: Option<exports::entity::GuestIndices>,
    /// Set once an orchestrator of it was seen to read WASI's clock.
    pub(super) reads_clock: AtomicBool,
}

/// Every component that is in use.
pub(super) struct Components {
    engine: Engine,
    effects: Linker<GuestState>,
    deterministic: Linker<GuestState>,
    cache: Option<PathBuf>,
    component_bytes_max: u64,
    bytes: ComponentBytes,
    compiled: Mutex<BTreeMap<Digest, Arc<OnceCell<Arc<Compiled>>>>>,
    compiling: Semaphore,
}

/// A component's file, read.
pub(super) struct ComponentFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Arc<[u8]>,
    pub(super) digest: Digest,
}

impl Components {
    /// `cache` is the folder for compiled components, made if need be (only its owner may enter it); none keeps them in
    /// memory only. `bytes` finds the bytes of components that are not deployed any more.
    pub(super) fn new(
        engine: &Engine,
        cache: Option<PathBuf>,
        component_bytes_max: u64,
        bytes: ComponentBytes,
    ) -> wasmtime::Result<Self> {
        let cache = cache.filter(|folder| match private_folder(folder) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "compiled components are not cached");
                false
            }
        });
        Ok(Self {
            engine: engine.clone(),
            effects: wasi::effects_linker(engine)?,
            deterministic: wasi::deterministic_linker(engine)?,
            cache,
            component_bytes_max,
            bytes,
            compiled: Mutex::default(),
            compiling: Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)),
        })
    }

    /// Reads a component's file.
    pub(super) async fn read(self: &Arc<Self>, path: &Path) -> Result<ComponentFile, LoadError> {
        let (path, limit) = (path.to_owned(), self.component_bytes_max);
        blocking(move || read_file(&path, limit)).await
    }

    /// Makes a component ready.
    pub(super) async fn load(self: &Arc<Self>, file: &ComponentFile) -> Result<Arc<Compiled>, LoadError> {
        let cell = self.cell(file.digest);
        let compiled = cell.get_or_try_init(|| self.compile(file.path.clone(), file.digest, Arc::clone(&file.bytes)));
        compiled.await.cloned()
    }

    /// The component of a digest: one that is in use, or was and is kept in storage.
    ///
    /// # Errors
    /// A text for the operator: the component is missing, or cannot be used by this host.
    pub(super) async fn get(self: &Arc<Self>, digest: Digest) -> Result<Arc<Compiled>, String> {
        let cell = self.cell(digest);
        if let Some(compiled) = cell.get() {
            return Ok(Arc::clone(compiled));
        }
        let compiled = cell.get_or_try_init(|| async {
            let bytes = (self.bytes)(digest).await.ok_or_else(|| {
                format!("component {digest} is neither deployed nor in storage: deploy the version that the instance started with")
            })?;
            let name = PathBuf::from(format!("component {digest}"));
            self.compile(name, digest, bytes).await.map_err(|error| error.to_string())
        });
        compiled.await.cloned()
    }

    /// Forgets every other component than these that is compiled. One that is needed again is taken from the cache, or
    /// compiled once more.
    pub(super) fn forget_others(&self, keep: &BTreeSet<Digest>) {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        // One without a value is just being compiled.
        compiled.retain(|digest, cell| keep.contains(digest) || cell.get().is_none());
    }

    fn cell(&self, digest: Digest) -> Arc<OnceCell<Arc<Compiled>>> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(compiled.entry(digest).or_default())
    }

    async fn compile(
        self: &Arc<Self>,
        path: PathBuf,
        digest: Digest,
        bytes: Arc<[u8]>,
    ) -> Result<Arc<Compiled>, LoadError> {
        let _turn = self.compiling.acquire().await.expect("the semaphore is never closed");
        let this = Arc::clone(self);
        blocking(move || this.compile_now(&path, digest, &bytes)).await
    }

    fn compile_now(&self, path: &Path, digest: Digest, bytes: &[u8]) -> Result<Arc<Compiled>, LoadError> {
        let info = inspect::inspect(path, bytes)?;
        let not = |error: wasmtime::Error| LoadError::NotRunnable {
            path: path.to_owned(),
            message: format!("no component that this host can run: {error:#}"),
        };
        let entry = self.cache.as_ref().map(|folder| folder.join(self.entry_name(digest)));
        let component = match entry.as_ref().and_then(|entry| self.read_entry(entry)) {
            Some(component) => component,
            None => {
                let began = Instant::now();
                let component = Component::from_binary(&self.engine, bytes).map_err(not)?;
                tracing::info!(%digest, path = %path.display(), ms = began.elapsed().as_millis(), "component compiled");
                if let Some(entry) = &entry
                    && let Err(error) = write_entry(entry, &component)
                {
                    tracing::warn!(entry = %entry.display(), %error, "a compiled component was not cached");
                }
                component
            }
        };
        self.link(path, digest, info, &component).map_err(not).map(Arc::new)
    }

    fn link(
        &self,
        path: &Path,
        digest: Digest,
        info: ComponentInfo,
        component: &Component,
    ) -> wasmtime::Result<Compiled> {
        let effects = self.effects.instantiate_pre(component)?;
        let deterministic = self.deterministic.instantiate_pre(component)?;
        let exports_any = |interface: &str| {
            let wanted = format!("{}/{interface}@1", super::contract::PACKAGE);
            info.exports.iter().any(|export| export.starts_with(&wanted))
        };
        tracing::debug!(%digest, path = %path.display(), contract = info.contract, "component loaded");
        Ok(Compiled {
            digest,
            http_function: exports_any("http-function")
                .then(|| exports::http_function::GuestIndices::new(&effects))
                .transpose()?,
            incoming_handler: info.speaks_http().then(|| incoming_handler::GuestIndices::new(&effects)).transpose()?,
            activity: exports_any("activity").then(|| exports::activity::GuestIndices::new(&effects)).transpose()?,
            timer_function: exports_any("timer-function")
                .then(|| exports::timer_function::GuestIndices::new(&effects))
                .transpose()?,
            orchestrator: exports_any("orchestrator")
                .then(|| exports::orchestrator::GuestIndices::new(&deterministic))
                .transpose()?,
            entity: exports_any("entity").then(|| exports::entity::GuestIndices::new(&deterministic)).transpose()?,
            reads_clock: AtomicBool::new(false),
            info,
            effects,
            deterministic,
        })
    }

    /// Deletes entries of other components than these and of other engines, and what an end in the midst of writing left.
    pub(super) async fn tidy_cache(self: &Arc<Self>, keep: BTreeSet<Digest>) {
        let Some(folder) = self.cache.clone() else { return };
        let keep: BTreeSet<String> = keep.into_iter().map(|digest| self.entry_name(digest)).collect();
        let deleted = blocking(move || -> io::Result<usize> {
            let mut deleted = 0;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                // What others may have put there is not ours to delete.
                let is_ours = name.ends_with(".cwasm") || name.contains(".tmp-");
                if is_ours && !keep.contains(&*name) {
                    fs::remove_file(entry.path())?;
                    deleted += 1;
                }
            }
            Ok(deleted)
        });
        match deleted.await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "compiled components that nobody needs were deleted"),
            Err(error) => tracing::warn!(%error, "compiled components that nobody needs could not be deleted"),
        }
    }

    /// Names what an entry depends on: the component, and everything about the engine that decides what code it makes.
    fn entry_name(&self, digest: Digest) -> String {
        let mut engine = Sha256Hasher(Sha256::new());
        std::hash::Hash::hash(&self.engine.precompile_compatibility_hash(), &mut engine);
        let engine = Digest(engine.0.finalize().into()).to_string();
        format!("{digest}-{}.cwasm", &engine[..16])
    }

    /// A whole, unchanged entry's component. Anything else is as if it was not there.
    fn read_entry(&self, path: &Path) -> Option<Component> {
        let entry = match fs::read(path) {
            Ok(entry) => entry,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(entry = %path.display(), %error, "a cached component cannot be read: it is compiled again");
                return None;
            }
        };
        let Some(code) = checked_code(&entry) else {
            tracing::warn!(entry = %path.display(), "a cached component is damaged: it is compiled again");
            return None;
        };
        // SAFETY: the bytes are what `write_entry` got from this same engine's compiler (the name holds the engine's hash,
        // the entry its content's), in a folder that only our user can write to.
        match unsafe { Component::deserialize(&self.engine, code) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(entry = %path.display(), %error, "a cached component is not usable: it is compiled again");
                None
            }
        }
    }
}

/// Reads a component's file of at most so many bytes.
pub(super) fn read_file(path: &Path, bytes_max: u64) -> Result<ComponentFile, LoadError> {
    let unreadable = |error: io::Error| LoadError::Unreadable {
        path: path.to_owned(),
        message: match error.kind() {
            io::ErrorKind::NotFound => "no such file: build the function, or correct scriptFile".to_owned(),
            _ => error.to_string(),
        },
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder, where a component is needed" } else { "no regular file" };
        let message = format!("{what}: name the .wasm file in scriptFile");
        return Err(LoadError::NotAComponent { path: path.to_owned(), message });
    }
    if metadata.len() > bytes_max {
        return Err(LoadError::TooLarge { path: path.to_owned(), bytes: metadata.len(), limit: bytes_max });
    }
    let bytes: Arc<[u8]> = fs::read(path).map_err(unreadable)?.into();
    let digest = Digest(Sha256::digest(&bytes).into());
    Ok(ComponentFile { path: path.to_owned(), bytes, digest })
}

/// An entry: magic, SHA-256 of the code, code.
fn checked_code(entry: &[u8]) -> Option<&[u8]> {
    let (hash, code) = entry.strip_prefix(CACHE_MAGIC)?.split_at_checked(32)?;
    (Sha256::digest(code).as_slice() == hash).then_some(code)
}

/// Writes an entry aside, syncs it and renames it: whoever finds it finds all of it.
fn write_entry(path: &Path, component: &Component) -> anyhow::Result<()> {
    use std::io::Write as _;
    let code = component.serialize()?;
    let aside = path.with_extension(format!("tmp-{}", std::process::id()));
    let written = (|| {
        let mut file = fs::File::create(&aside)?;
        file.write_all(CACHE_MAGIC)?;
        file.write_all(&Sha256::digest(&code))?;
        file.write_all(&code)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        // Best effort: a full disk is the likely cause, and a remnant would make it worse.
        let _ = fs::remove_file(&aside);
    }
    Ok(written?)
}

fn private_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Runs work that takes long on a thread where it delays nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime goes down; whoever waits here goes with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A stable hasher: the name of an entry must be the same in every process.
struct Sha256Hasher(Sha256);

impl std::hash::Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
