//! Which component file belongs to a function.

use std::path::{Path, PathBuf};

use super::diagnostic::{Code, Problem};
use super::error::Origin;

/// What makes the component of a Rust crate.
const BUILD: &str = "run `soloist build` to make it";

/// Where a function's component is looked for.
pub(super) struct Search<'a> {
    /// The app folder, without symbolic links.
    pub root: &'a Path,
    /// The function's folder.
    pub folder: &'a Path,
    /// What `scriptFile` says.
    pub script_file: Option<&'a str>,
    /// Where to point if there is none: at `scriptFile`, or the whole.
    pub origin: &'a Origin,
}

/// Finds the component of a function: `scriptFile`; else what the Rust crate in the folder builds; else
/// the only `.wasm` file in the folder, or of several `function.wasm` or `run.wasm`; else what a Rust crate in a folder
/// above builds, up to the app folder. The result is inside the app folder after all symbolic links are followed.
///
/// # Errors
/// What is missing and how to provide it.
pub(super) fn find(search: &Search<'_>) -> Result<PathBuf, Problem> {
    let Search { root, folder, .. } = search;
    if let Some(script_file) = search.script_file.filter(|file| !file.is_empty()) {
        return named(search, script_file);
    }
    if let Some(component) = crate_component(folder) {
        return built(search, component);
    }
    if let Some(component) = component_in(folder) {
        return inside(search, &component);
    }
    let above = folder.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(root));
    match above.filter_map(crate_component).next() {
        Some(component) => built(search, component),
        None => Err(search.problem(
            Code::ScriptUnknown,
            "Unable to determine the primary function script. Make sure at least one script file is present. Try renaming \
             your entry point script to 'run' or alternatively you can specify the name of the entry point script \
             explicitly by adding a 'scriptFile' property to your function metadata.",
        )),
    }
}

impl Search<'_> {
    fn problem(&self, code: Code, message: impl Into<String>) -> Problem {
        Problem::new(code, message, self.origin.clone())
    }
}

fn named(search: &Search<'_>, script_file: &str) -> Result<PathBuf, Problem> {
    if Path::new(script_file).is_absolute() {
        let message = format!("'scriptFile' must be relative to the function's folder, not '{script_file}'");
        return Err(search.problem(Code::ScriptOutside, message));
    }
    let path = search.folder.join(script_file);
    // A folder exists, and is looked at when components are read.
    if path.exists() {
        return inside(search, &path);
    }
    let missing = search.problem(
        Code::ScriptMissing,
        "Invalid script file name configuration. The 'scriptFile' property is set to a file that does not exist.",
    );
    let folder = path.parent().unwrap_or(search.folder);
    let crate_file = crate_component(folder).filter(|component| component.file_name() == path.file_name());
    if crate_file.is_some() {
        return Err(missing.help(BUILD));
    }
    let others = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let others: Vec<String> = others.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Err(missing.similar(&name, others.iter().map(String::as_str).filter(|other| other.ends_with(".wasm"))))
}

fn built(search: &Search<'_>, component: PathBuf) -> Result<PathBuf, Problem> {
    if component.is_file() {
        return inside(search, &component);
    }
    let message = format!("the component {} does not exist", component.display());
    Err(search.problem(Code::ScriptMissing, message).help(BUILD))
}

/// Follows all symbolic links and refuses what is not in the app folder.
fn inside(search: &Search<'_>, path: &Path) -> Result<PathBuf, Problem> {
    let real = path
        .canonicalize()
        .map_err(|error| search.problem(Code::Unreadable, format!("cannot read {}: {error}", path.display())))?;
    if !real.starts_with(search.root) {
        let message = format!("the component {} is outside of the app folder", real.display());
        return Err(search.problem(Code::ScriptOutside, message).help("move or copy it there"));
    }
    Ok(real)
}

fn component_in(folder: &Path) -> Option<PathBuf> {
    let is_component = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wasm")) && path.is_file()
    };
    let components: Vec<PathBuf> =
        std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path()).filter(is_component).collect();
    match components.as_slice() {
        [only] => Some(only.clone()),
        _ => ["function.wasm", "run.wasm"].iter().map(|name| folder.join(name)).find(|path| components.contains(path)),
    }
}

/// Where `soloist build` puts the component of the crate in `folder`, if there is one.
fn crate_component(folder: &Path) -> Option<PathBuf> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    Some(folder.join(format!("{}.wasm", library_name(&manifest)?)))
}

/// The library's name as rustc has it: `[lib] name`, else `[package] name` with underscores. `None` without a package.
/// Reads the few lines that matter instead of bringing a TOML parser: a name is always a plain string on one line.
fn library_name(manifest: &str) -> Option<String> {
    let (mut table, mut package, mut library) = (String::new(), None, None);
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            table = line.split(['#', ']']).next().unwrap_or_default().replace(['[', ' ', '\t', '"'], "");
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let key = key.replace([' ', '\t', '"'], "");
        let path = if table.is_empty() { key } else { format!("{table}.{key}") };
        let name = quoted(value.trim());
        match path.as_str() {
            "package.name" => package = name,
            "lib.name" => library = name,
            _ => {}
        }
    }
    let package = package?;
    Some(library.unwrap_or(package).replace('-', "_"))
}

fn quoted(value: &str) -> Option<&str> {
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    value[1..].split(quote).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_named_as_rustc_names_it() {
        let name = |manifest| library_name(manifest);
        assert_eq!(name("[package]\nname = \"my-app\" # x\n"), Some("my_app".to_owned()));
        assert_eq!(name("[package]\nname='a'\n[lib]\nname = \"b-c\"\n[[bin]]\nname=\"d\"\n"), Some("b_c".to_owned()));
        assert_eq!(name("package.name = \"x\"\n[dependencies]\nname = \"y\""), Some("x".to_owned()));
        assert_eq!(name("[workspace]\nmembers = []\n[workspace.package]\nname = \"z\""), None);
    }
}
