//! Watches an app's folder while it is served: what changes there is built and served without a restart.
//!
//! Only folders that can hold something of the app are watched: not `target`, not the data folder, nothing hidden. What
//! editors leave beside a file while they save it means nothing. Where sources are built, crates outside of the folder that
//! functions depend on by path are watched as well.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use notify_debouncer_full::{
    DebounceEventResult, Debouncer, RecommendedCache, new_debouncer,
    notify::{EventKind, RecommendedWatcher, RecursiveMode, event::ModifyKind},
};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::{build, path_crates};
use crate::{
    flight::{BOOK, FLIGHT},
    host::{CACHE, DATABASE, Host, LOCK, Reloaded},
    server::keys::KEYS,
};

/// How long a file must be left alone: an editor's save is several changes, and one of many files takes its time.
const QUIET: Duration = Duration::from_millis(200);

/// How often the app's own folder is looked at: no watch tells that another one has taken its place.
const LOOK: Duration = Duration::from_secs(2);

/// How long another folder in its place is given to be filled.
const SETTLE: Duration = Duration::from_secs(1);

/// The deepest folder that is watched, below the app's.
const DEPTH_MAX: usize = 16;

/// What a changed file asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A build, and then what [`Change::Deployed`] asks for.
    Sources,
    /// Reading the app again.
    Deployed,
}

/// Which files are the app's.
#[derive(Clone, Debug)]
struct Scope {
    /// The app's folder, without symbolic links.
    app: PathBuf,
    data: Option<PathBuf>,
    /// The host's data lies among the app's files.
    is_data: bool,
    /// The folders of crates elsewhere that the app's are made of, without symbolic links.
    crates: Arc<RwLock<BTreeSet<PathBuf>>>,
}

/// True for what a host writes into its data folder.
fn is_hosts_own(name: &str) -> bool {
    [DATABASE, CACHE, LOCK, FLIGHT, BOOK, KEYS].iter().any(|own| name.starts_with(own))
}

impl Scope {
    /// What a change of this file or folder asks for; none if it is not the app's.
    fn change(&self, path: &Path) -> Option<Change> {
        let of_app = path.strip_prefix(&self.app).ok();
        let inside = of_app.map_or_else(|| self.in_crate(path), |inside| Some(inside.to_owned()));
        let inside = inside.filter(|inside| !inside.as_os_str().is_empty())?;
        if self.data.as_ref().is_some_and(|data| path.starts_with(data)) {
            return None;
        }
        let mut names = inside.iter().map(|name| name.to_string_lossy());
        // Else each turn of an instance would have the app built and read again.
        if of_app.is_some() && self.is_data && names.clone().next().is_some_and(|name| is_hosts_own(&name)) {
            return None;
        }
        if names.any(|name| name.starts_with('.') || name == "target") {
            return None;
        }
        let name = path.file_name()?.to_string_lossy();
        let is_editors = name.ends_with('~')
            || name.starts_with('#')
            || name == "4913"
            || [".tmp", ".swp", ".swx", ".bak"].iter().any(|end| name.ends_with(end));
        if is_editors {
            return None;
        }
        let is_deployed =
            name.ends_with(".wasm") || ["function.json", "host.json", "local.settings.json"].contains(&&*name);
        Some(if is_deployed && of_app.is_some() { Change::Deployed } else { Change::Sources })
    }

    /// Where a path is in a crate elsewhere.
    fn in_crate(&self, path: &Path) -> Option<PathBuf> {
        let crates = self.crates.read().unwrap_or_else(PoisonError::into_inner);
        crates.iter().find_map(|own| path.strip_prefix(own).ok()).map(Path::to_owned)
    }

    /// The folders that hold files of the app, its own first.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.app.clone()];
        folders.extend(self.crates.read().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        // A link may lead to what is watched already, or to what is not the app's.
        let mut seen = BTreeSet::from_iter(folders.clone());
        let mut is_new = |path: &PathBuf| {
            let Ok(real) = path.canonicalize() else { return false };
            // Out of the app a link may lead; out of a crate elsewhere, who knows where to.
            let leads_out = !real.starts_with(&self.app) && path.starts_with(&self.app);
            let is_apps = leads_out || self.change(&real).is_some();
            is_apps
                && real.is_dir()
                && !self.data.as_ref().is_some_and(|data| real.starts_with(data))
                && seen.insert(real)
        };
        let mut at = 0;
        while let Some(folder) = folders.get(at).cloned() {
            at += 1;
            let inside = folder.strip_prefix(&self.app).ok().map(Path::to_owned).or_else(|| self.in_crate(&folder));
            let is_deep = inside.is_some_and(|inside| inside.iter().count() >= DEPTH_MAX);
            let entries = if is_deep { None } else { std::fs::read_dir(&folder).ok() };
            let inside = entries.into_iter().flatten().flatten().map(|entry| entry.path());
            folders.extend(inside.filter(|path| self.change(path).is_some() && is_new(path)));
        }
        folders
    }
}

/// What has changed and was not taken yet.
#[derive(Default)]
struct Pending {
    noted: Notify,
    is_source: AtomicBool,
}

/// Tells of changes.
struct Watcher {
    debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
    scope: Scope,
    pending: Arc<Pending>,
    has_warned: bool,
    /// Which folder is the app's; none if there is none.
    identity: Option<Identity>,
}

impl Watcher {
    fn new(scope: Scope) -> anyhow::Result<Self> {
        let pending = Arc::<Pending>::default();
        let (noted, own) = (pending.clone(), scope.clone());
        let debouncer = new_debouncer(QUIET, None, move |events: DebounceEventResult| {
            let changes = match &events {
                Ok(events) => events
                    .iter()
                    .filter(|event| is_change(event.kind))
                    .flat_map(|event| event.paths.iter().filter_map(|path| own.change(path)))
                    .collect(),
                // Events were lost: anything may have changed.
                Err(_) => vec![Change::Sources],
            };
            if changes.contains(&Change::Sources) {
                noted.is_source.store(true, Ordering::Relaxed);
            }
            if !changes.is_empty() {
                noted.noted.notify_one();
            }
        })?;
        let identity = Identity::of(&scope.app);
        let mut watcher = Self { debouncer, scope, pending, has_warned: false, identity };
        watcher.watch_folders();
        Ok(watcher)
    }

    /// Watches every folder that there is now. What is watched already stays so.
    fn watch_folders(&mut self) {
        for folder in self.scope.folders() {
            let watched = self.debouncer.watch(&folder, RecursiveMode::NonRecursive);
            // One that is gone again is nobody's loss.
            if let Err(error) = watched
                && folder.exists()
                && !std::mem::replace(&mut self.has_warned, true)
            {
                warn!(
                    folder = %folder.display(), %error,
                    "a folder cannot be watched: restart the host when something changes there, or raise \
                     fs.inotify.max_user_watches and max_user_instances"
                );
            }
        }
    }

    /// Watches these crates elsewhere, and no others.
    fn set_crates(&mut self, crates: BTreeSet<PathBuf>) {
        let mut current = self.scope.crates.write().unwrap_or_else(PoisonError::into_inner);
        if *current == crates {
            return;
        }
        let gone: Vec<PathBuf> = current.difference(&crates).cloned().collect();
        *current = crates;
        drop(current);
        for folder in gone {
            // What is below it says nothing any more: it is in no crate.
            let _ = self.debouncer.unwatch(&folder);
        }
        self.watch_folders();
    }

    /// Waits for a change, which may have been made before.
    async fn changed(&mut self) -> Change {
        loop {
            tokio::select! {
                biased;
                () = self.pending.noted.notified() => break,
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.is_another_folder() {
                self.watch_folders();
                tokio::time::sleep(SETTLE).await;
                self.pending.is_source.store(true, Ordering::Relaxed);
                break;
            }
        }
        let is_source = self.pending.is_source.swap(false, Ordering::Relaxed);
        // Before anything is read: what is written into a new folder from here on is noticed.
        self.watch_folders();
        if is_source { Change::Sources } else { Change::Deployed }
    }
}

impl Watcher {
    /// True if another folder is now where the app's was; that it is gone is told.
    fn is_another_folder(&mut self) -> bool {
        let found = Identity::of(&self.scope.app);
        if found == self.identity {
            return false;
        }
        if found.is_none() {
            warn!(folder = %self.scope.app.display(), "the app's folder is gone: the host goes on with what it serves");
        }
        self.identity = found;
        self.identity.is_some()
    }
}

/// What tells a folder from another one of the same path. A number that is free again is given to the next one, so that the
/// time at which it was made counts, too.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    number: (u64, u64),
    made: Option<SystemTime>,
}

impl Identity {
    /// None if there is no such folder.
    fn of(folder: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(folder).ok().filter(std::fs::Metadata::is_dir)?;
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let number = (0, 0);
        Some(Self { number, made: metadata.created().ok() })
    }
}

/// False for what changes nothing in a file: cargo reads all of them.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}

/// A watched app's folder.
pub(super) struct Watch {
    app: PathBuf,
    watcher: Watcher,
}

impl Watch {
    /// Begins to watch. Before the app is read: what changes from then on is noticed. None, with a warning, if the system does
    /// not watch it.
    pub(super) fn begin(app: &Path, data: Option<&Path>) -> Option<Self> {
        let watcher = app.canonicalize().map_err(anyhow::Error::from).and_then(|real| {
            let data = data.map(future_path).filter(|data| data.starts_with(&real));
            let is_data = data.as_ref() == Some(&real);
            Watcher::new(Scope { app: real, data: data.filter(|_| !is_data), is_data, crates: Arc::default() })
        });
        match watcher {
            Ok(watcher) => Some(Self { app: app.to_owned(), watcher }),
            Err(error) => {
                warn!(%error, "the app's folder cannot be watched: restart the host when something changes there");
                None
            }
        }
    }

    /// Serves what changes in the app's folder, until it is dropped. `is_built`: sources are built first.
    pub(super) async fn follow(self, host: &Host, is_built: bool) -> Infallible {
        let Self { app, mut watcher } = self;
        if is_built {
            watcher.set_crates(crates_elsewhere(&app).await);
        }
        loop {
            let change = watcher.changed().await;
            if is_built && change == Change::Sources {
                build_again(&app).await;
                watcher.set_crates(crates_elsewhere(&app).await);
            }
            match host.reload().await {
                Ok(reloaded) => tell(&reloaded),
                Err(error) => {
                    error!(
                        reason = format!("{error:#}"),
                        "the app cannot be reloaded: the host goes on with what it serves"
                    );
                }
            }
        }
    }
}

/// The path without symbolic links of what need not be there yet.
fn future_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|ancestor| Some((ancestor.canonicalize().ok()?, ancestor)));
    match there {
        Some((real, ancestor)) => real.join(path.strip_prefix(ancestor).unwrap_or(Path::new(""))),
        None => path,
    }
}

/// The crates outside of the app's folder that it is made of now.
async fn crates_elsewhere(app: &Path) -> BTreeSet<PathBuf> {
    let app = app.to_owned();
    let asked = tokio::task::spawn_blocking(move || app.canonicalize().map(|app| path_crates::outside(&app)));
    asked.await.ok().and_then(Result::ok).unwrap_or_default()
}

async fn build_again(app: &Path) {
    let app = app.to_owned();
    let built = tokio::task::spawn_blocking(move || build::build(&app, &mut |line| eprintln!("{line}"))).await;
    match built {
        Ok(Ok(report)) => {
            for failure in report.failed {
                error!(
                    manifest = %failure.manifest.display(), reason = failure.reason,
                    "not built: the last component that was built goes on"
                );
            }
        }
        Ok(Err(error)) => error!(reason = format!("{error:#}"), "not built: the host goes on with what it serves"),
        Err(error) => error!(%error, "not built: the host goes on with what it serves"),
    }
}

fn tell(reloaded: &Reloaded) {
    let Reloaded { added, changed, removed, kept, excluded, warnings, needs_restart, settings_changed } = reloaded;
    for error in kept {
        warn!(
            function = error.function, reason = error.reason, file = %error.file.display(),
            "a function is in error: it goes on as it was before"
        );
    }
    for error in excluded {
        warn!(
            function = error.function, reason = error.reason, file = %error.file.display(),
            "a function is in error and not served"
        );
    }
    for warning in warnings {
        warn!(code = %warning.code, place = %warning.origin, finding = %warning.message, "found in the app");
    }
    if !needs_restart.is_empty() {
        warn!(
            values = needs_restart.join(", "),
            "host.json has changed in values that only a start reads: restart the host"
        );
    }
    if *settings_changed || ![added, changed, removed].iter().all(|names| names.is_empty()) {
        info!(
            added = added.join(", "),
            changed = changed.join(", "),
            removed = removed.join(", "),
            settings_changed,
            "the app was reloaded"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_before_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        assert_eq!(future_path(&folder.path().join("not/yet")), real.join("not/yet"));
        assert_eq!(future_path(folder.path()), real);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
            assert_eq!(future_path(&real.join("link/data")), real.join("data"));
        }
    }

    #[test]
    fn only_what_is_the_apps_counts() {
        let crates = Arc::new(RwLock::new(BTreeSet::from(["/shared".into()])));
        let scope = Scope { app: "/app".into(), data: Some("/app/data".into()), is_data: false, crates };
        let change = |path: &str| scope.change(Path::new(path));
        let elsewhere = ["/shared/Cargo.toml", "/shared/src/lib.rs", "/shared/src/x.wasm", "/shared/host.json"];
        for source in ["/app/F", "/app/F/src/lib.rs", "/app/Cargo.toml", "/app/notes.txt"].into_iter().chain(elsewhere)
        {
            assert_eq!(change(source), Some(Change::Sources), "{source}");
        }
        for deployed in ["/app/host.json", "/app/F/function.json", "/app/F/f.wasm", "/app/local.settings.json"] {
            assert_eq!(change(deployed), Some(Change::Deployed), "{deployed}");
        }
        for other in [
            "/app",
            "/elsewhere/host.json",
            "/shared",
            "/shared/target/x",
            "/shared/.git/index",
            "/app/target/x",
            "/app/F/target/release/f.wasm",
            "/app/.git/index",
            "/app/.soloist/hub.db",
            "/app/data/hub.db",
            "/app/F/.f.wasm.12.tmp",
            "/app/F/src/lib.rs~",
            "/app/F/src/4913",
            "/app/F/src/.lib.rs.swp",
        ] {
            assert_eq!(change(other), None, "{other}");
        }
        let mixed = Scope { data: None, is_data: true, ..scope };
        for own in ["hub.db", "hub.db-wal", "cache/1.cwasm", "lock", "flight", "parking.json", "keys.json"] {
            assert_eq!(mixed.change(&Path::new("/app").join(own)), None, "{own}");
        }
        assert_eq!(mixed.change(Path::new("/app/host.json")), Some(Change::Deployed));
        assert_eq!(mixed.change(Path::new("/app/F/lock")), Some(Change::Sources));
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_nowhere_twice_and_not_into_what_is_not_the_apps() {
        let folder = tempfile::tempdir().expect("temp folder");
        let app = folder.path().canonicalize().expect("it exists").join("app");
        for inside in ["F/src", ".soloist/cache", "target/debug", "data/cache"] {
            std::fs::create_dir_all(app.join(inside)).expect("create folder");
        }
        std::fs::create_dir_all(folder.path().join("shared/src")).expect("create folder");
        for (link, to) in [("one", "."), ("two", "."), ("F/up", ".."), ("G", "F"), ("kept", ".soloist"), ("d", "data")]
        {
            std::os::unix::fs::symlink(to, app.join(link)).expect("link");
        }
        std::os::unix::fs::symlink("../shared", app.join("shared")).expect("link");
        let scope = Scope { app: app.clone(), data: Some(app.join("data")), is_data: false, crates: Arc::default() };
        let folders = scope.folders();
        let real: BTreeSet<PathBuf> = folders.iter().map(|folder| folder.canonicalize().expect("it exists")).collect();
        let shared = folder.path().canonicalize().expect("it exists").join("shared");
        let wanted = [app.clone(), app.join("F"), app.join("F/src"), shared.clone(), shared.join("src")];
        assert_eq!((real, folders.len()), (BTreeSet::from(wanted), 5), "{folders:?}");
    }

    #[tokio::test]
    async fn a_save_by_renaming_and_a_new_folder_are_noticed() {
        let app = tempfile::tempdir().expect("temp folder");
        let root = app.path().canonicalize().expect("it exists");
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().expect("has a folder")).expect("create folder");
            std::fs::write(path, text).expect("write file");
        };
        write("F/src/lib.rs", "old");
        write("target/debug/x", "");
        let mut watcher = Watcher::new(Scope { app: root.clone(), data: None, is_data: false, crates: Arc::default() })
            .expect("it can be watched");
        write("F/src/.lib.rs.new", "new");
        std::fs::rename(root.join("F/src/.lib.rs.new"), root.join("F/src/lib.rs")).expect("rename");
        assert_eq!(watcher.changed().await, Change::Sources);
        write("F/function.json", "{}");
        assert_eq!(watcher.changed().await, Change::Deployed);
        // The folder is new; what comes into it later is noticed, too.
        write("G/src/lib.rs", "");
        assert_eq!(watcher.changed().await, Change::Sources);
        write("G/function.json", "{}");
        while watcher.changed().await != Change::Deployed {}
        std::fs::remove_dir_all(root.join("G")).expect("remove");
        assert_eq!(watcher.changed().await, Change::Sources);
    }

    #[tokio::test]
    async fn crates_elsewhere_are_watched_for_as_long_as_they_belong_to_the_app() {
        let folder = tempfile::tempdir().expect("temp folder");
        let root = folder.path().canonicalize().expect("it exists");
        for inside in ["app", "shared/src", "shared/target", "other/src", "outside"] {
            std::fs::create_dir_all(root.join(inside)).expect("create folder");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("../outside", root.join("shared/link")).expect("link");
        let scope = Scope { app: root.join("app"), data: None, is_data: false, crates: Arc::default() };
        let mut watcher = Watcher::new(scope).expect("it can be watched");
        watcher.set_crates(BTreeSet::from([root.join("shared")]));
        let folders = watcher.scope.folders();
        assert_eq!(folders, ["app", "shared", "shared/src"].map(|inside| root.join(inside)), "nothing else");
        std::fs::write(root.join("shared/src/lib.rs"), "new").expect("write file");
        assert_eq!(watcher.changed().await, Change::Sources);
        watcher.set_crates(BTreeSet::from([root.join("other")]));
        std::fs::write(root.join("shared/src/lib.rs"), "newer").expect("write file");
        std::fs::write(root.join("app/host.json"), "{}").expect("write file");
        assert_eq!(watcher.changed().await, Change::Deployed, "and nothing of the crate that is gone");
        std::fs::write(root.join("other/src/lib.rs"), "new").expect("write file");
        assert_eq!(watcher.changed().await, Change::Sources);
    }

    #[tokio::test]
    async fn another_folder_in_place_of_the_apps_is_noticed() {
        let parent = tempfile::tempdir().expect("temp folder");
        let root = parent.path().canonicalize().expect("it exists").join("app");
        std::fs::create_dir_all(root.join("F")).expect("create folder");
        let mut watcher = Watcher::new(Scope { app: root.clone(), data: None, is_data: false, crates: Arc::default() })
            .expect("it can be watched");
        for is_deleted in [false, true] {
            match is_deleted {
                false => std::fs::rename(&root, parent.path().join("old")).expect("rename"),
                true => std::fs::remove_dir_all(&root).expect("remove"),
            }
            std::fs::create_dir_all(root.join("F")).expect("create folder");
            while !watcher.is_another_folder() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            watcher.watch_folders();
            std::fs::write(root.join("F/function.json"), "{}").expect("write file");
            while watcher.changed().await != Change::Deployed {}
        }
    }
}
