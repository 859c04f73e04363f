//! `soloist config`: what is in effect and where it comes from, and the schemas of the files.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::manage::{Exit, Failure, Format, Output, printable};
use crate::app::{
    self, App, HostJson, KEYS, Key, Kind, Origin, function_json_schema, host_json_schema, process_environment,
};

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
        let rows = rows(&app.host_json, &app.root);
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

/// A key and what is in effect of it.
struct Row {
    key: &'static Key,
    /// As JSON.
    value: String,
    origin: String,
}

fn rows(host_json: &HostJson, root: &Path) -> Vec<Row> {
    let origin = |key: &Key| match host_json.origins.get(key.path) {
        None => "default".to_owned(),
        Some(Origin::Setting(name)) => format!("setting {name}"),
        Some(Origin::File { file, span }) => {
            let file = file.strip_prefix(root).unwrap_or(file).display().to_string();
            span.map_or(file.clone(), |span| format!("{file}:{}", span.start))
        }
    };
    host_json.values().into_iter().map(|(key, value)| Row { key, value, origin: origin(key) }).collect()
}

/// The key of that path, or the only one of that name.
fn find(wanted: &str) -> Option<&'static Key> {
    let exact = KEYS.iter().find(|key| key.path.eq_ignore_ascii_case(wanted));
    let mut named = KEYS.iter().filter(|key| key.name().eq_ignore_ascii_case(wanted) && key.kind != Kind::Section);
    exact.or_else(|| named.next().filter(|_| named.next().is_none()))
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
    format!("AzureFunctionsJobHost__{}", key.path.replace('.', "__"))
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
