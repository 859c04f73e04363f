//! Which component file belongs to a function.

use std::path::{Path, PathBuf};

/// Finds the component of the function in `folder`: `scriptFile`; else what the Rust crate in the folder builds; else
/// the only `.wasm` file in the folder, or of several `function.wasm` or `run.wasm`; else what a Rust crate in a folder
/// above builds, up to the app folder `root`. The result is inside `root` after all symbolic links are followed.
///
/// # Errors
/// What is missing and how to provide it.
pub(super) fn find(root: &Path, folder: &Path, script_file: Option<&str>) -> Result<PathBuf, String> {
    if let Some(script_file) = script_file.filter(|file| !file.is_empty()) {
        return named(root, folder, script_file);
    }
    if let Some(component) = crate_component(folder) {
        return built(root, component);
    }
    if let Some(component) = component_in(folder) {
        return inside(root, &component);
    }
    let above = folder.ancestors().skip(1).take_while(|ancestor| ancestor.starts_with(root));
    match above.filter_map(crate_component).next() {
        Some(component) => built(root, component),
        None => Err("Unable to determine the primary function script. Make sure at least one script file is present. \
                     Try renaming your entry point script to 'run' or alternatively you can specify the name of the \
                     entry point script explicitly by adding a 'scriptFile' property to your function metadata."
            .to_owned()),
    }
}

fn named(root: &Path, folder: &Path, script_file: &str) -> Result<PathBuf, String> {
    if Path::new(script_file).is_absolute() {
        return Err(format!("'scriptFile' must be relative to the function's folder, not '{script_file}'"));
    }
    let path = folder.join(script_file);
    if path.is_file() {
        return inside(root, &path);
    }
    let mut message =
        "Invalid script file name configuration. The 'scriptFile' property is set to a file that does not \
                       exist."
            .to_owned();
    let from_crate =
        path.parent().and_then(crate_component).filter(|component| component.file_name() == path.file_name());
    if from_crate.is_some() {
        message.push_str(" Run `soloist build` to make it.");
    }
    Err(message)
}

fn built(root: &Path, component: PathBuf) -> Result<PathBuf, String> {
    if component.is_file() {
        return inside(root, &component);
    }
    Err(format!("the component {} does not exist: run `soloist build` to make it", component.display()))
}

/// Follows all symbolic links and refuses what is not in the app folder.
fn inside(root: &Path, path: &Path) -> Result<PathBuf, String> {
    let real = path.canonicalize().map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if !real.starts_with(root) {
        return Err(format!("the component {} is outside of the app folder: move or copy it there", real.display()));
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
