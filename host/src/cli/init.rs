//! `soloist init` and `soloist new`: a new app, and a new function in one. Nothing that exists is ever changed, but for the
//! list of members in an app's `Cargo.toml`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};

use super::{
    sdk,
    template::{self, Kind, NewFunction},
};
use crate::app::is_function_name;

/// `soloist init`.
#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The folder of the new app; made if it does not exist
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Use the SDK's source here (the crate soloist-sdk, or a clone of Soloist), not the one that this program brings along
    #[arg(long, value_name = "PATH")]
    sdk: Option<PathBuf>,
}

/// `soloist new`.
#[derive(Debug, clap::Args)]
pub(super) struct New {
    /// What kind of function
    #[arg(value_enum)]
    kind: Kind,
    /// Its name: letters, digits, _ and -, a letter first
    name: String,
    /// The app's folder
    #[arg(long, default_value = ".")]
    app: PathBuf,
}

/// The functions of a new app.
const FIRST: &[NewFunction<'static>] = &[
    NewFunction { kind: Kind::Starter, name: "HttpStart", route: Some("orchestrators/{functionName}"), code: None },
    NewFunction {
        kind: Kind::Orchestration,
        name: "HelloCities",
        route: None,
        code: Some(include_str!("templates/hello.rs.txt")),
    },
    NewFunction { kind: Kind::Activity, name: "SayHello", route: None, code: None },
];

impl Init {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let folder = &self.folder;
        ensure!(
            folder.is_dir() || folder.symlink_metadata().is_err(),
            "{} is not a folder: name one that is empty, or does not exist yet",
            folder.display()
        );
        let sdk = match &self.sdk {
            None => sdk::dependency_path(),
            Some(path) => path_text(&sdk::find(path)?)?,
        };
        let mut files = vec![
            (PathBuf::from("host.json"), include_str!("templates/host.json").to_owned()),
            (".gitignore".into(), include_str!("templates/gitignore").to_owned()),
            ("local.settings.json".into(), include_str!("templates/local.settings.json").to_owned()),
            (
                "Cargo.toml".into(),
                template::workspace(&sdk, &FIRST.iter().map(|function| function.name).collect::<Vec<_>>()),
            ),
            ("Cargo.lock".into(), sdk::lock_file()),
        ];
        for function in FIRST {
            files.extend(function.files().into_iter().map(|(path, text)| (Path::new(function.name).join(path), text)));
        }
        let present: Vec<_> = files.iter().filter(|(file, _)| folder.join(file).symlink_metadata().is_ok()).collect();
        if !present.is_empty() {
            let names: Vec<_> = present.iter().map(|(file, _)| file.display().to_string()).collect();
            bail!(
                "{} has these files already, and nothing is overwritten: {}; name an empty folder, or add a function to \
                 this app with `soloist new`",
                folder.display(),
                names.join(", ")
            );
        }
        for (file, text) in &files {
            write_new(&folder.join(file), text)?;
        }
        sdk::provide(folder, &mut |line| eprintln!("{line}"))?;
        println!("made an app in {}: HttpStart starts HelloCities, which calls SayHello", folder.display());
        println!("next: soloist start {} --dev", shown(folder));
        println!("then: curl -X POST http://127.0.0.1:7071/api/orchestrators/HelloCities");
        Ok(ExitCode::SUCCESS)
    }
}

impl New {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let app = &self.app;
        super::check_app_folder(app)?;
        ensure!(
            app.join("host.json").is_file(),
            "{} is not an app: it has no host.json; `soloist init` makes an app, --app names its folder",
            app.display()
        );
        self.check_name()?;
        // First: without it the function would be there, and not build.
        join_workspace(app, &self.name)?;
        let function = NewFunction { kind: self.kind, name: &self.name, route: None, code: None };
        write_folder(app, &self.name, &function.files())?;
        sdk::provide(app, &mut |line| eprintln!("{line}"))?;
        let folder = app.join(&self.name);
        println!("made the {} function {}: its code is {}", self.kind, self.name, folder.join("src/lib.rs").display());
        Ok(ExitCode::SUCCESS)
    }

    fn check_name(&self) -> anyhow::Result<()> {
        let (app, name) = (&self.app, &self.name);
        ensure!(
            is_function_name(name),
            "{name:?} is not a valid function name: use letters, digits, _ and -, a letter first, 128 characters at most"
        );
        ensure!(!name.eq_ignore_ascii_case("target"), "a function cannot be called {name}: cargo's output is there");
        let is_own_page = ["admin", "runtime"].iter().any(|taken| name.eq_ignore_ascii_case(taken));
        ensure!(
            !(self.kind.has_route() && is_own_page),
            "an {} function cannot be called {name}: its route would be one of the host's own",
            self.kind
        );
        let krate = template::crate_name(name);
        for entry in fs::read_dir(app).with_context(|| format!("reading {}", app.display()))? {
            let folder = entry.with_context(|| format!("reading {}", app.display()))?.path();
            let other = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            ensure!(
                !other.eq_ignore_ascii_case(name),
                "{} exists already, and nothing is overwritten",
                folder.display()
            );
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
            ensure!(
                package_name(&manifest).as_deref() != Some(&krate),
                "the crate of {name} would be called {krate}, as that in {} is: choose another name",
                folder.display()
            );
        }
        Ok(())
    }
}

/// Makes sure that the crate in a new folder belongs to the app's workspace and finds the SDK there.
fn join_workspace(app: &Path, folder: &str) -> anyhow::Result<()> {
    let file = app.join("Cargo.toml");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_new(&file, &template::workspace(&sdk::dependency_path(), &[folder]))?;
            let lock = app.join("Cargo.lock");
            return if lock.exists() { Ok(()) } else { write_new(&lock, &sdk::lock_file()) };
        }
        Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
    };
    let mut manifest: toml_edit::DocumentMut = text.parse().with_context(|| format!("reading {}", file.display()))?;
    let remedy = "add the function by hand, or have a workspace with a member per function, as `soloist init` makes it";
    let Some(workspace) = manifest.get_mut("workspace") else {
        bail!("{} is no workspace: {remedy}", file.display());
    };
    for name in ["soloist-sdk", "serde"] {
        let has_it = workspace.get("dependencies").and_then(|all| all.get(name)).is_some();
        ensure!(has_it, "{} has no {name} among its [workspace.dependencies]: add it there", file.display());
    }
    let has_package = workspace.get("package").and_then(|package| package.get("edition")).is_some();
    ensure!(has_package, "{} has no version, edition and publish in [workspace.package]: add them", file.display());
    let members = workspace.as_table_like_mut().map(|table| table.entry("members").or_insert(toml_edit::array()));
    let Some(members) = members.and_then(toml_edit::Item::as_array_mut) else {
        bail!("{} has no list of members in [workspace]: {remedy}", file.display());
    };
    if members.iter().filter_map(toml_edit::Value::as_str).any(|member| member == folder) {
        return Ok(());
    }
    let decor = members.iter().last().map(|last| last.decor().clone());
    let mut member = toml_edit::Value::from(folder);
    if let Some(decor) = decor {
        *member.decor_mut() = decor;
    }
    members.push_formatted(member);
    replace(&file, &manifest.to_string())
}

/// The name in a manifest's `[package]`.
fn package_name(manifest: &str) -> Option<String> {
    let manifest: toml_edit::DocumentMut = manifest.parse().ok()?;
    manifest.get("package")?.get("name")?.as_str().map(str::to_owned)
}

/// Makes a folder with these files, in one step: a host that watches finds all of them.
fn write_folder(app: &Path, name: &str, files: &[(&'static str, String)]) -> anyhow::Result<()> {
    let aside = app.join(format!(".{name}.{}.tmp", std::process::id()));
    let folder = app.join(name);
    let written = files
        .iter()
        .try_for_each(|(file, text)| write_new(&aside.join(file), text))
        // Fails where there is a folder with something in it.
        .and_then(|()| fs::rename(&aside, &folder).with_context(|| format!("making {}", folder.display())));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_dir_all(&aside);
    }
    written
}

/// Writes a file that must not exist, and its folders.
fn write_new(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::File::create_new(file))
        .and_then(|mut new| new.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", file.display()))
}

/// Replaces a file's text in one step.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let aside = file.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&aside, text)
        .and_then(|()| fs::rename(&aside, file))
        .with_context(|| format!("writing {}", file.display()))
}

fn path_text(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8, and Cargo.toml must be", path.display()))?;
    Ok(text.to_owned())
}

/// A path for a shell's command line.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(folder: &Path) -> anyhow::Result<ExitCode> {
        Init { folder: folder.to_owned(), sdk: None }.run()
    }

    fn new(app: &Path, kind: Kind, name: &str) -> anyhow::Result<()> {
        New { kind, name: name.to_owned(), app: app.to_owned() }.run().map(drop)
    }

    fn refused(app: &Path, kind: Kind, name: &str) -> String {
        format!("{:#}", new(app, kind, name).expect_err(name))
    }

    #[test]
    fn nothing_is_overwritten() {
        let app = tempfile::tempdir().expect("temp folder");
        fs::write(app.path().join(".gitignore"), "mine").expect("write");
        let error = format!("{:#}", init(app.path()).expect_err("a file is there"));
        assert!(error.contains("nothing is overwritten: .gitignore;"), "{error}");
        assert_eq!(fs::read_dir(app.path()).expect("read").count(), 1, "nothing was written");
        fs::remove_file(app.path().join(".gitignore")).expect("remove");
        init(app.path()).expect("an empty folder");
        assert!(refused(app.path(), Kind::Http, "httpstart").contains("HttpStart exists already"));
        assert!(format!("{:#}", init(app.path()).expect_err("it is an app")).contains("soloist new"));
    }

    #[test]
    fn names_that_no_function_can_have_are_refused_with_a_reason() {
        let app = tempfile::tempdir().expect("temp folder");
        assert!(refused(app.path(), Kind::Http, "A").contains("has no host.json; `soloist init` makes an app"));
        init(app.path()).expect("an empty folder");
        for name in ["", "1a", "a b", "a/b", "../a", "host", "ä", &"a".repeat(129)] {
            assert!(refused(app.path(), Kind::Activity, name).contains("is not a valid function name"), "{name:?}");
        }
        assert!(refused(app.path(), Kind::Http, "Admin").contains("the host's own"));
        assert!(refused(app.path(), Kind::Timer, "Target").contains("cargo's output"));
        assert!(refused(app.path(), Kind::Activity, "say-hello").contains("would be called say-hello"));
        new(app.path(), Kind::Activity, "Admin").expect("an activity has no route");
    }

    #[test]
    fn a_function_joins_the_workspace_that_is_there() {
        let app = tempfile::tempdir().expect("temp folder");
        let manifest = app.path().join("Cargo.toml");
        let read = || fs::read_to_string(&manifest).expect("read");
        fs::write(app.path().join("host.json"), "{}").expect("write");
        fs::write(&manifest, "[package]\nname = \"shop\"\n").expect("write");
        assert!(refused(app.path(), Kind::Http, "A").contains("is no workspace"));
        fs::write(&manifest, "[workspace]\nmembers = []\n").expect("write");
        assert!(refused(app.path(), Kind::Http, "A").contains("no soloist-sdk among"));
        assert!(!app.path().join("A").exists());
        let text = "# mine\n[workspace]\nmembers = [\n    \"B\",\n]\n[workspace.package]\nedition = \"2024\"\n\
                    [workspace.dependencies]\nserde = \"1\"\nsoloist-sdk = { path = \"x\" }\n";
        fs::write(&manifest, text).expect("write");
        new(app.path(), Kind::Http, "A").expect("it can join");
        assert_eq!(read(), text.replace("    \"B\",\n", "    \"B\",\n    \"A\",\n"));
        // None at all: it is made, as for a new app.
        fs::remove_file(&manifest).expect("remove");
        new(app.path(), Kind::Entity, "C").expect("a workspace is made");
        assert!(read().contains("members = [\n    \"C\",\n]"));
        assert!(app.path().join(".soloist/sdk").is_dir() && app.path().join("Cargo.lock").is_file());
    }
}
