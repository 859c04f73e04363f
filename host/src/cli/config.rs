//! `soloist config`: what is in effect and where it comes from, and the schemas of the files.

use std::path::PathBuf;
use std::process::ExitCode;

use super::manage::{Exit, Failure, Format, Output, printable};
use crate::app::{self, App, KEYS, Key, Kind, Origin, function_json_schema, host_json_schema, process_environment};

/// `soloist config`.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show the value of every key of host.json, and where it comes from; of settings the names only
    Show(Show),
    /// Print the JSON Schema of a file, for editors and other tools
    Schema {
        /// Which file's
        #[arg(value_enum)]
        file: SchemaOf,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SchemaOf {
    /// host.json
    Host,
    /// function.json
    Function,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The app's folder
    #[arg(default_value = ".")]
    app: PathBuf,
    /// Say of one key what it does, what is in effect, where that comes from and how to change it
    #[arg(long, value_name = "KEY")]
    explain: Option<String>,
    /// For people (text) or for programs (json)
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl ConfigCommand {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Show(show) => show.run(),
            Verb::Schema { file } => {
                let schema = match file {
                    SchemaOf::Host => host_json_schema(),
                    SchemaOf::Function => function_json_schema(),
                };
                Output::new(Format::Text).write(&format!("{schema:#}\n"))?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Show {
    fn run(self) -> anyhow::Result<ExitCode> {
        let output = Output::new(self.format);
        let app = match App::load(&self.app, process_environment()) {
            Ok(app) => app,
            Err(error) => {
                let text = format!("{error}; `soloist check` shows everything that is wrong");
                return Ok(Failure::new(Exit::Failed, text).report(self.format));
            }
        };
        let rows = rows(&app);
        if let Some(wanted) = &self.explain {
            let Some(key) = find(wanted) else {
                let meant = app::closest_key(wanted).map(|key| format!(": did you mean '{key}'?")).unwrap_or_default();
                let text = format!("host.json has no key '{wanted}'{meant}");
                return Ok(Failure::new(Exit::Usage, text).report(self.format));
            };
            let row = rows.iter().find(|row| row.key.path == key.path);
            match output.is_json() {
                true => output.json(&explained_json(key, row).to_string())?,
                false => output.write(&explained(key, row))?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        let settings = settings(&app);
        if output.is_json() {
            let keys: Vec<_> = rows.iter().map(|row| explained_json(row.key, Some(row))).collect();
            let settings: Vec<_> =
                settings.iter().map(|(name, origin)| serde_json::json!({ "name": name, "origin": origin })).collect();
            output.json(&serde_json::json!({ "keys": keys, "settings": settings }).to_string())?;
        } else {
            output.write(&text(&rows, &settings))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What the variables begin with that override host.json.
const VARIABLE_PREFIX: &str = "AzureFunctionsJobHost__";

/// A key and what is in effect of it.
struct Row {
    key: &'static Key,
    /// As JSON.
    value: String,
    origin: String,
}

fn rows(app: &App) -> Vec<Row> {
    let origin = |key: &Key| match app.host_json.origins.get(key.path) {
        None => "default".to_owned(),
        Some(Origin::Setting(name)) => format!("setting {name}"),
        Some(Origin::File { file, span }) => {
            let file = file.strip_prefix(&app.root).unwrap_or(file).display().to_string();
            span.map_or(file.clone(), |span| format!("{file}:{}", span.start))
        }
    };
    // What local.settings.json says of pages goes before what host.json says.
    let of_settings = |key: &Key| {
        let cors = app.settings.cors()?;
        let (value, name): (serde_json::Value, _) = match key.path {
            "extensions.soloist.cors.allowedOrigins" => {
                (cors.origins.clone().unwrap_or_else(|| vec!["*".to_owned()]).into(), "Host.CORS")
            }
            "extensions.soloist.cors.supportCredentials" => (cors.credentials.into(), "Host.CORSCredentials"),
            _ => return None,
        };
        Some(Row { key: find(key.path)?, value: value.to_string(), origin: format!("local.settings.json, {name}") })
    };
    let row = |(key, value)| of_settings(key).unwrap_or_else(|| Row { key, value, origin: origin(key) });
    app.host_json.values().into_iter().map(row).collect()
}

/// The key of that path, or the only one whose path ends so; else the nearest one above that has no keys of its own. The
/// name of the variable that overrides it will do, too.
fn find(wanted: &str) -> Option<&'static Key> {
    let plain = match wanted.split_at_checked(VARIABLE_PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(VARIABLE_PREFIX) => rest,
        _ => wanted,
    };
    let path = plain.replace("__", ".");
    let exact = KEYS.iter().find(|key| key.path.eq_ignore_ascii_case(&path));
    let ends_so = |key: &&Key| {
        let start = key.path.len().checked_sub(path.len() + 1).and_then(|at| key.path.split_at_checked(at));
        !path.is_empty()
            && key.kind != Kind::Section
            && start.is_some_and(|(_, end)| end.starts_with('.') && end[1..].eq_ignore_ascii_case(&path))
    };
    let mut named = KEYS.iter().filter(ends_so);
    let above = || {
        let (parent, _) = path.rsplit_once('.')?;
        find(parent).filter(|key| matches!(key.kind, Kind::NotApplicable | Kind::TextMap | Kind::Texts))
    };
    exact.or_else(|| named.next().filter(|_| named.next().is_none())).or_else(above)
}

/// The names of the app's settings, and where each comes from. Values may be secrets, and are never shown.
fn settings(app: &App) -> Vec<(String, &'static str)> {
    let origin = |name: &str| match app.settings.is_from_environment(name) {
        true => "environment",
        false => "local.settings.json",
    };
    app.settings.values().into_keys().map(|name| (name.clone(), origin(&name))).collect()
}

fn text(rows: &[Row], settings: &[(String, &'static str)]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0).min(80);
    let path = width(&mut rows.iter().map(|row| row.key.path.len()));
    let value = width(&mut rows.iter().map(|row| printable(&row.value).chars().count())).min(30);
    for row in rows {
        let _ = writeln!(text, "{:path$}  {:value$}  {}", row.key.path, printable(&row.value), printable(&row.origin));
    }
    if !settings.is_empty() {
        text.push_str("\nsettings (values are not shown):\n");
    }
    let name = width(&mut settings.iter().map(|(name, _)| printable(name).chars().count()));
    for (own, origin) in settings {
        let _ = writeln!(text, "  {:name$}  {origin}", printable(own));
    }
    text
}

/// The variable that overrides a key.
fn variable(key: &Key) -> String {
    format!("{VARIABLE_PREFIX}{}", key.path.replace('.', "__"))
}

fn explained(key: &Key, row: Option<&Row>) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let _ = writeln!(text, "{}", key.path);
    let Some(row) = row else {
        let what = match key.kind {
            Kind::NotApplicable => format!("has no effect here: {}", key.meaning),
            _ => "holds other keys; `soloist config show` lists them".to_owned(),
        };
        let _ = writeln!(text, "  {what}");
        return text;
    };
    let _ = writeln!(text, "  {}", key.meaning);
    let _ = writeln!(text, "  allowed     {}", key.kind.text());
    let _ = writeln!(text, "  default     {}", app::default_text(key));
    let _ = writeln!(text, "  in effect   {}", printable(&row.value));
    let _ = writeln!(text, "  from        {}", printable(&row.origin));
    let _ = writeln!(text, "  to change   host.json, or over it the variable {}", variable(key));
    text
}

fn explained_json(key: &Key, row: Option<&Row>) -> serde_json::Value {
    let value: Option<serde_json::Value> = row.and_then(|row| serde_json::from_str(&row.value).ok());
    serde_json::json!({
        "key": key.path,
        "meaning": key.meaning,
        "hasEffect": key.has_effect(),
        "value": value,
        "origin": row.map(|row| row.origin.as_str()),
        "variable": key.has_effect().then(|| variable(key)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_whatever_names_it() {
        let found = |wanted: &str| find(wanted).map(|key| key.path);
        for wanted in [
            "extensions.http.hsts.maxAge",
            "MAXAGE",
            "hsts.maxAge",
            "AzureFunctionsJobHost__extensions__http__hsts__maxAge",
        ] {
            assert_eq!(found(wanted), Some("extensions.http.hsts.maxAge"), "{wanted}");
        }
        assert_eq!(found("storageProvider.type"), Some("extensions.durableTask.storageProvider"));
        assert_eq!(found("customHeaders.X-A"), Some("extensions.http.customHeaders"));
        assert_eq!(found("functions.0"), Some("functions"));
        for wanted in ["", ".", "residntBytes", "hsts.nothing", "AzureFunctionsJobHost__", "é"] {
            assert_eq!(found(wanted), None, "{wanted}");
        }
    }

    #[test]
    fn pages_that_local_settings_allow_are_shown() {
        let folder = tempfile::tempdir().expect("temp folder");
        let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).expect("a file");
        write("host.json", r#"{ "version": "2.0", "functions": ["a", "b"] }"#);
        write("local.settings.json", r#"{ "Host": { "CORS": "*" } }"#);
        let variable = ("AzureFunctionsJobHost__functions__0".to_owned(), "c".to_owned());
        let app = App::load(folder.path(), [variable]).expect("it loads");
        let shown = |path: &str| {
            let row = rows(&app).into_iter().find(|row| row.key.path == path).expect("it has a row");
            (row.value, row.origin)
        };
        let told = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(shown("extensions.soloist.cors.allowedOrigins"), told(r#"["*"]"#, "local.settings.json, Host.CORS"));
        assert_eq!(shown("functions"), told(r#"["c","b"]"#, "setting AzureFunctionsJobHost__functions__0"));
    }
}
