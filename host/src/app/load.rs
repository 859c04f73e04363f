//! Loads an app: finds the functions, reads each and settles conflicts between them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::App;
use super::diagnostic::{Code, Problem, Report, closest};
use super::error::{AppError, Excluded, Origin};
use super::function::{Function, Trigger};
use super::function_json::{self, Parsed, Surroundings};
use super::host_json::HostJson;
use super::route::RouteTable;
use super::settings::Settings;

/// A larger `function.json`, `host.json` or `local.settings.json` is none.
const FILE_BYTES_MAX: u64 = 4 << 20;

impl App {
    /// Loads the app in the folder `root`. `environment` holds the variables that count as settings; give it
    /// [`process_environment`](super::process_environment), or nothing in tests. Nothing is written.
    ///
    /// Everything is read, whatever is wrong: all that was found is in [`App::report`]. A function that cannot be served is
    /// in [`App::excluded`]; it does not keep the others from being served.
    ///
    /// # Errors
    /// [`AppError`] if the folder, `host.json` or `local.settings.json` cannot be used: the host cannot start. It has
    /// everything that was found, in functions too.
    pub fn load(root: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Result<App, AppError> {
        let mut report = Report::default();
        let Some(root) = report.keep(app_folder(root)) else {
            return Err(AppError { report, app: None });
        };
        let settings = Settings::load(&root, environment.into_iter().collect(), &mut report);
        let host_json = HostJson::load(&root, &settings, &mut report);
        let candidates = report.keep(candidates(&root)).unwrap_or_default();
        let is_usable = report.first_error().is_none();
        note_names(&root, &candidates, &host_json, &settings, &mut report);
        let surroundings = Surroundings { root: &root, host_json: &host_json, settings: &settings };
        let mut loading = Loading { report, ..Loading::default() };
        for candidate in candidates {
            if is_listed(&candidate.name, host_json.functions.as_deref()) {
                loading.add(&surroundings, &candidate);
            }
        }
        let Loading { functions, origins, excluded, mut report, .. } = loading;
        super::route::note_overlaps(&functions, &origins, &mut report);
        let routes = RouteTable::new(&host_json.http.route_prefix, &functions);
        let app = App { root, host_json, functions, excluded, routes, settings, report };
        if is_usable { Ok(app) } else { Err(AppError { report: app.report.clone(), app: Some(Box::new(app)) }) }
    }

    /// The function of that name, without regard to case.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }
}

fn app_folder(root: &Path) -> Result<PathBuf, Problem> {
    const GIVE: &str = "give the folder that holds host.json";
    let problem = |what: String| Problem::new(Code::AppFolder, what, Origin::whole(root));
    let not_a_folder = || problem(format!("{} is not a folder: {GIVE}", root.display()));
    match root.canonicalize() {
        Ok(real) if real.is_dir() => Ok(real),
        Ok(_) => Err(not_a_folder()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Err(not_a_folder()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(problem(format!("app folder {} not found: {GIVE}", root.display())))
        }
        Err(error) => Err(problem(format!("cannot read {}: {error}", root.display()))),
    }
}

/// A folder that holds a `function.json`.
struct Candidate {
    name: String,
    folder: PathBuf,
}

/// Finds the folders of functions, ordered by name as the original orders them: ordinal, without regard to case.
fn candidates(root: &Path) -> Result<Vec<Candidate>, Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::new(Code::Unreadable, format!("cannot read {}: {error}", root.display()), Origin::whole(root))
    };
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

/// Reports names of functions in `functions` and in settings that no function has, and an app without functions.
fn note_names(root: &Path, candidates: &[Candidate], host_json: &HostJson, settings: &Settings, report: &mut Report) {
    let exists = |name: &str| candidates.iter().any(|candidate| candidate.name.eq_ignore_ascii_case(name));
    let names = || candidates.iter().map(|candidate| candidate.name.as_str());
    for name in host_json.functions.iter().flatten().filter(|name| !exists(name)) {
        let message = format!("host.json: functions lists '{name}', and there is no function of that name");
        let origin = host_json.origins.get("functions").cloned().unwrap_or_else(|| Origin::whole("host.json"));
        report.note(Problem::new(Code::ListedFunction, message, origin).similar(name, names()));
    }
    for (setting, name) in settings.disabling().filter(|(_, name)| !exists(name)) {
        let message = format!("there is no function '{name}' to disable");
        let origin = Origin::Setting(setting.to_owned());
        let problem = Problem::new(Code::DisabledNobody, message, origin);
        // The environment may be another app's, too: only what is nearly a function's name was meant for one.
        if !settings.is_from_environment(setting) || closest(name, names()).is_some() {
            report.note(problem.similar(name, names()));
        }
    }
    if candidates.is_empty() {
        let message = "the app has no functions: no folder in it holds a function.json";
        let origin = Origin::whole(root);
        let help = match root.join("function.json").is_file() {
            true => "this is a function's own folder: name the one above it",
            false => "make a folder with a function.json in it",
        };
        report.note(Problem::new(Code::NoFunctions, message, origin).help(help));
    }
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
    /// Where the route or the durable name of each function is written.
    origins: Vec<Origin>,
    excluded: Vec<Excluded>,
    report: Report,
    names: BTreeSet<String>,
    /// (kind, lower-case durable name) → the function that has it.
    durable_names: BTreeMap<(&'static str, String), String>,
}

impl Loading {
    fn add(&mut self, surroundings: &Surroundings<'_>, candidate: &Candidate) {
        let mut report = Report::default();
        let parsed = self.read(surroundings, candidate, &mut report);
        report.drop_followers();
        if let Some(Parsed { function, trigger_origin }) = parsed {
            self.functions.push(function);
            self.origins.push(trigger_origin);
        } else if let Some(error) = report.first_error() {
            let file = candidate.folder.join("function.json");
            self.excluded.push(Excluded::because(error, &candidate.name, file));
        }
        self.report.append(report.about(&candidate.name));
    }

    fn read(&mut self, surroundings: &Surroundings<'_>, candidate: &Candidate, report: &mut Report) -> Option<Parsed> {
        let Candidate { name, folder } = candidate;
        let file = folder.join("function.json");
        if !is_function_name(name) {
            let message = format!("'{name}' is not a valid function name.");
            let problem = Problem::new(Code::FunctionName, message, Origin::whole(folder));
            report.note(problem.help("a letter, then at most 127 letters, digits, _ and -; not `host`"));
        } else if !self.names.insert(name.to_ascii_lowercase()) {
            let message = format!("another folder has the name '{name}' but for upper and lower case: rename one");
            report.note(Problem::new(Code::FunctionNameTaken, message, Origin::whole(folder)));
        }
        let bytes = read_file(&file).map_err(|error| {
            Problem::new(Code::Unreadable, format!("cannot read function.json: {error}"), Origin::whole(file))
        });
        let parsed = function_json::read(surroundings, name, folder, report.keep(bytes)?, report)?;
        report.keep(self.check_route(&parsed))?;
        report.keep(self.check_durable_name(&parsed))?;
        // One whose name cannot be is not served, however well the rest is.
        report.first_error().is_none().then_some(parsed)
    }

    fn check_route(&self, parsed: &Parsed) -> Result<(), Problem> {
        let Some(http) = parsed.function.http() else {
            return Ok(());
        };
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
                Code::RouteTaken,
                format!("The route specified conflicts with the route defined by function '{}'.", other.name),
                parsed.trigger_origin.clone(),
            )
            .help("change one of the routes, or give them different methods")),
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
                Code::DurableNameTaken,
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

/// Reads a regular file of a bounded size; anything else, a pipe for example, could block or take memory for ever.
pub(super) fn read_file(file: &Path) -> std::io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(file)?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read(file)
}
