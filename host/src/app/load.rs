//! Loads an app: finds the functions, reads each and settles conflicts between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::App;
use super::error::{AppError, Excluded, Origin, Problem};
use super::function::{Function, Trigger};
use super::function_json::{self, Parsed, Surroundings};
use super::host_json::HostJson;
use super::route::RouteTable;
use super::settings::Settings;

impl App {
    /// Loads the app in the folder `root`. `environment` holds the variables that count as settings; give it
    /// [`process_environment`](super::process_environment), or nothing in tests. Nothing is written.
    ///
    /// A function that cannot be served is in [`App::excluded`]; it does not keep the others from being served.
    ///
    /// # Errors
    /// [`AppError`] if the folder, `host.json` or `local.settings.json` cannot be used: the host cannot start.
    pub fn load(root: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<App, AppError> {
        let root = app_folder(root)?;
        let settings = Settings::load(&root, environment.into_iter().collect())?;
        let host_json = HostJson::load(&root, &settings)?;
        let surroundings = Surroundings { root: &root, host_json: &host_json, settings: &settings };
        let mut loading = Loading::default();
        for candidate in candidates(&root)? {
            if is_listed(&candidate.name, host_json.functions.as_deref()) {
                loading.add(&surroundings, &candidate);
            }
        }
        let Loading { functions, excluded, .. } = loading;
        let routes = RouteTable::new(&host_json.http.route_prefix, &functions);
        Ok(App { root, host_json, functions, excluded, routes, settings })
    }

    /// The function of that name, without regard to case.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }
}

fn app_folder(root: &Path) -> Result<PathBuf, AppError> {
    let real = match root.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(AppError::NotFound(root.to_owned()));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(AppError::NotAFolder(root.to_owned()));
        }
        Err(source) => {
            return Err(AppError::Unreadable { path: root.to_owned(), source });
        }
    };
    if real.is_dir() { Ok(real) } else { Err(AppError::NotAFolder(root.to_owned())) }
}

/// A folder that holds a `function.json`.
struct Candidate {
    name: String,
    folder: PathBuf,
}

/// Finds the folders of functions, ordered by name as the original orders them: ordinal, without regard to case.
fn candidates(root: &Path) -> Result<Vec<Candidate>, AppError> {
    let unreadable = |source| AppError::Unreadable { path: root.to_owned(), source };
    let mut candidates = Vec::new();
    for entry in std::fs::read_dir(root).map_err(unreadable)? {
        let folder = entry.map_err(unreadable)?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ignored = name.starts_with('.') || name == "target";
        if !ignored && folder.is_dir() && folder.join("function.json").symlink_metadata().is_ok() {
            candidates.push(Candidate { name, folder });
        }
    }
    candidates.sort_by_cached_key(|candidate| (candidate.name.to_uppercase(), candidate.name.clone()));
    Ok(candidates)
}

fn is_listed(name: &str, functions: Option<&[String]>) -> bool {
    functions.is_none_or(|functions| functions.iter().any(|listed| listed.eq_ignore_ascii_case(name)))
}

/// Whether a function can have this name: 1 to 128 ASCII letters, digits, `_` and `-`, a letter first, and not `host`.
pub fn is_function_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && !name.eq_ignore_ascii_case("host")
}

/// The functions so far, and the names that they have taken.
#[derive(Default)]
struct Loading {
    functions: Vec<Function>,
    excluded: Vec<Excluded>,
    names: BTreeSet<String>,
    /// (kind, lower-case durable name) → the function that has it.
    durable_names: BTreeMap<(&'static str, String), String>,
}

impl Loading {
    fn add(&mut self, surroundings: &Surroundings<'_>, candidate: &Candidate) {
        match self.read(surroundings, candidate) {
            Ok(function) => self.functions.push(function),
            Err(problem) => {
                let file = candidate.folder.join("function.json");
                self.excluded.push(problem.exclude(&candidate.name, &file));
            }
        }
    }

    fn read(&mut self, surroundings: &Surroundings<'_>, candidate: &Candidate) -> Result<Function, Problem> {
        let Candidate { name, folder } = candidate;
        let file = folder.join("function.json");
        let whole_folder = Origin::File { file: folder.clone(), position: None };
        if !is_function_name(name) {
            return Err(Problem::new(format!("'{name}' is not a valid function name."), whole_folder));
        }
        if !self.names.insert(name.to_ascii_lowercase()) {
            let message = format!("another folder has the name '{name}' but for upper and lower case: rename one");
            return Err(Problem::new(message, whole_folder));
        }
        let bytes = read_file(&file).map_err(|error| {
            let origin = Origin::File { file: file.clone(), position: None };
            Problem::new(format!("cannot read function.json: {error}"), origin)
        })?;
        let parsed = function_json::read(surroundings, name, folder, bytes)?;
        self.check_route(&parsed)?;
        self.check_durable_name(&parsed)?;
        Ok(parsed.function)
    }

    fn check_route(&self, parsed: &Parsed) -> Result<(), Problem> {
        let Some(http) = parsed.function.http() else {
            return Ok(());
        };
        if http.route.first_literal().is_some_and(|first| first == "admin" || first == "runtime") {
            return Err(Problem::new(
                "The specified route conflicts with one or more built in routes.",
                parsed.trigger_origin.clone(),
            ));
        }
        let conflicts = |function: &&Function| {
            function.http().is_some_and(|other| {
                let methods_meet = http.methods.is_empty()
                    || other.methods.is_empty()
                    || http.methods.iter().any(|method| other.methods.contains(method));
                other.route == http.route && methods_meet
            })
        };
        match self.functions.iter().find(conflicts) {
            None => Ok(()),
            Some(other) => Err(Problem::new(
                format!("The route specified conflicts with the route defined by function '{}'.", other.name),
                parsed.trigger_origin.clone(),
            )),
        }
    }

    fn check_durable_name(&mut self, parsed: &Parsed) -> Result<(), Problem> {
        let (kind, name) = match &parsed.function.trigger {
            Trigger::Orchestration { name } => ("orchestration", name),
            Trigger::Activity { name } => ("activity", name),
            Trigger::Entity { name } => ("entity", name),
            Trigger::Http(_) | Trigger::Timer(_) => return Ok(()),
        };
        let key = (kind, name.to_lowercase());
        if let Some(other) = self.durable_names.get(&key) {
            return Err(Problem::new(
                format!(
                    "the {kind} name '{name}' is already used by function '{other}': give one of them another name"
                ),
                parsed.trigger_origin.clone(),
            ));
        }
        self.durable_names.insert(key, parsed.function.name.clone());
        Ok(())
    }
}

/// Reads a regular file; anything else, a pipe for example, could block for ever.
fn read_file(file: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    std::fs::read(file)
}
