//! App settings: `Values` of `local.settings.json`, and the environment over them.

use std::collections::BTreeMap;
use std::path::Path;

use super::diagnostic::{Code, Problem, Report};
use super::error::Origin;
use super::host_json::Cors;
use super::json::{Document, Node};

/// The file beside `host.json` that holds app settings.
const FILE: &str = "local.settings.json";

/// The keys of the file that are read.
const KEYS: &[&str] = &["Values", "IsEncrypted", "$schema"];

/// Keys of the file that other tools read, but for a few in them.
const OTHER_KEYS: &[&str] = &["Host", "ConnectionStrings"];

/// The keys of `Host` that are read.
const HOST_KEYS: &[&str] = &["CORS", "CORSCredentials"];

/// What begins and ends the name of a setting that disables a function, as the original has it and as shells allow it.
const DISABLED: [(&str, &str); 2] = [("AzureWebJobs.", ".Disabled"), ("AzureWebJobs__", "__Disabled")];

/// The app's settings. An environment variable wins over the setting of the same name in `local.settings.json`.
/// Names compare without regard to case.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    cors: Option<Cors>,
}

impl Settings {
    /// Reads `local.settings.json` in the app folder `root`, if it is there. What cannot be used of it is reported and left
    /// out.
    pub(super) fn load(root: &Path, environment: BTreeMap<String, String>, report: &mut Report) -> Self {
        let path = root.join(FILE);
        let (values, cors) = match super::load::read_file(&path) {
            Ok(bytes) => read_values(&path, bytes, report),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (BTreeMap::new(), None),
            Err(error) => {
                let message = format!("cannot read {}: {error}", path.display());
                report.note(Problem::new(Code::Unreadable, message, Origin::whole(path)));
                (BTreeMap::new(), None)
            }
        };
        Settings { values, environment, cors }
    }

    /// `CORS` and `CORSCredentials` of the file's section `Host`: which pages of other sites may call functions.
    pub fn cors(&self) -> Option<&Cors> {
        self.cors.as_ref()
    }

    /// Whether an environment variable gives the setting its value.
    pub fn is_from_environment(&self, name: &str) -> bool {
        lookup(&self.environment, name).is_some()
    }

    /// The settings that disable a function: each setting's name, and the function's that it names.
    pub(super) fn disabling(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.values.keys().chain(self.environment.keys());
        names.filter_map(|name| Some((name.as_str(), DISABLED.iter().find_map(|form| function_in(name, form))?)))
    }

    /// The setting that disables a function, if one does.
    pub(super) fn disables(&self, function: &str) -> Option<String> {
        let names = DISABLED.iter().map(|(begin, end)| format!("{begin}{function}{end}"));
        names.into_iter().find(|name| self.is_on(name))
    }

    /// The value of a setting: the environment's, else the file's.
    pub fn get(&self, name: &str) -> Option<&str> {
        lookup(&self.environment, name).or_else(|| lookup(&self.values, name))
    }

    /// What guests see as their environment: the names in `Values` of `local.settings.json` and no others, each with
    /// the value that [`Settings::get`] gives. The rest of the host's environment is never shown to a guest.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.values
            .iter()
            .map(|(name, value)| (name.clone(), lookup(&self.environment, name).unwrap_or(value).to_owned()))
            .collect()
    }

    /// All settings whose name begins with `prefix`, without it, any case; the environment's come last.
    pub(super) fn below(&self, prefix: &str) -> impl Iterator<Item = (&str, &str, &str)> {
        self.values.iter().chain(&self.environment).filter_map(move |(name, value)| {
            let (head, tail) = name.split_at_checked(prefix.len())?;
            head.eq_ignore_ascii_case(prefix).then_some((name.as_str(), tail, value.as_str()))
        })
    }

    /// Replaces each `%NAME%` by the setting's value. A percent sign that begins no name stays as it is.
    ///
    /// # Errors
    /// The name of the first setting that does not exist.
    pub(super) fn resolve(&self, text: &str) -> Result<String, String> {
        let mut resolved = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('%') {
            resolved.push_str(&rest[..start]);
            let after = &rest[start + 1..];
            match after.find('%').map(|end| (&after[..end], &after[end + 1..])) {
                Some((name, following)) if is_setting_name(name) => {
                    resolved.push_str(self.get(name).ok_or_else(|| name.to_owned())?);
                    rest = following;
                }
                _ => {
                    resolved.push('%');
                    rest = after;
                }
            }
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    /// Whether a setting says yes: `true` or `1`.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.trim() == "1" || value.trim().eq_ignore_ascii_case("true"))
    }
}

fn lookup<'a>(values: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let exact = values.get(name);
    exact
        .or_else(|| values.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .map(String::as_str)
}

fn is_setting_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && name.chars().all(|character| character.is_alphanumeric() || "_.:-".contains(character))
}

/// `Host.CORS` (origins, parted by commas) and `Host.CORSCredentials`, as the original's tools read them.
fn cors_of(root: &Node) -> Result<Option<Cors>, Problem> {
    let Some(host) = root.get("Host").filter(|node| !node.is_null()) else { return Ok(None) };
    let wrong = |message: &str, node: &Node| Problem::new(Code::SettingsValue, message, node.origin());
    host.expect_object("Host", Code::SettingsValue)?;
    let Some(node) = host.get("CORS").filter(|node| !node.is_null()) else { return Ok(None) };
    let text = node.as_str().ok_or_else(|| wrong("Host.CORS must be a string of origins, parted by commas", node))?;
    let credentials = match host.get("CORSCredentials").filter(|node| !node.is_null()) {
        None => false,
        Some(flag) => flag.as_bool().ok_or_else(|| wrong("Host.CORSCredentials must be true or false", flag))?,
    };
    Cors::parse([text], credentials).map_err(|reason| wrong(&format!("Host.CORS: {reason}"), node))
}

/// The name of the function in the name of a setting that disables one.
fn function_in<'n>(name: &'n str, (begin, end): &(&str, &str)) -> Option<&'n str> {
    let (head, rest) = name.split_at_checked(begin.len())?;
    let (function, tail) = rest.split_at_checked(rest.len().checked_sub(end.len())?)?;
    let fits = head.eq_ignore_ascii_case(begin) && tail.eq_ignore_ascii_case(end) && !function.is_empty();
    fits.then_some(function)
}

fn read_values(path: &Path, bytes: Vec<u8>, report: &mut Report) -> (BTreeMap<String, String>, Option<Cors>) {
    let document = Document::parse(path, bytes, Code::SettingsSyntax);
    let Some(root) = report.keep(document).and_then(Document::into_root) else {
        return (BTreeMap::new(), None);
    };
    let cors = report.keep_or(None, cors_of(&root));
    root.note_duplicates(report);
    report.keep(root.expect_object(FILE, Code::SettingsValue));
    note_keys(&root, report);
    if let Some(encrypted) = root.get("IsEncrypted")
        && encrypted.as_bool() == Some(true)
    {
        let message = "encrypted settings are not supported: decrypt local.settings.json and set IsEncrypted to false";
        report.note(Problem::new(Code::SettingsValue, message, encrypted.origin()));
        return (BTreeMap::new(), cors);
    }
    let Some(listed) = root.get("Values").filter(|node| !node.is_null()) else {
        return (BTreeMap::new(), cors);
    };
    report.keep(listed.expect_object("Values", Code::SettingsValue));
    let mut values = BTreeMap::new();
    for property in listed.properties() {
        let text = Node::scalar_text(&property.node).ok_or_else(|| {
            let message = format!("the setting '{}' must be a string", property.name);
            Problem::new(Code::SettingsValue, message, property.node.origin())
                .help("write it as a text in double quotes; JSON in it goes into a text, too")
        });
        values.extend(report.keep(text).map(|text| (property.name.clone(), text)));
    }
    (values, cors)
}

fn note_keys(root: &Node, report: &mut Report) {
    let is_one_of = |name: &str, keys: &[&str]| keys.iter().any(|key| key.eq_ignore_ascii_case(name));
    for property in root.properties() {
        let name = &property.name;
        if is_one_of(name, OTHER_KEYS) {
            let others = property.node.properties().iter().filter(|inner| !is_one_of(&inner.name, HOST_KEYS));
            let others: Vec<String> = others.map(|inner| format!("{name}.{}", inner.name)).collect();
            if !others.is_empty() {
                let message = format!("{FILE} has keys that have no effect here: {}", others.join(", "));
                let problem = Problem::new(Code::NotApplicable, message, property.origin());
                report.note(problem.help("the port and the address are flags of `soloist start`"));
            }
        } else if !is_one_of(name, KEYS) {
            let message = format!("{FILE} has no key '{name}': it has no effect");
            let problem =
                Problem::new(Code::HostJsonKey, message, property.origin()).similar(name, KEYS.iter().copied());
            report.note(problem.help("settings of the app stand inside \"Values\""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Settings, Report> {
        let folder = tempfile::tempdir().expect("temp folder");
        std::fs::write(folder.path().join(FILE), text).expect("write settings");
        let mut report = Report::default();
        let settings = Settings::load(folder.path(), map(environment), &mut report);
        if report.first_error().is_some() { Err(report) } else { Ok(settings) }
    }

    #[test]
    fn the_environment_wins_and_only_listed_names_reach_guests() {
        let settings = load(
            r#"{ "IsEncrypted": false, "Values": { "Greeting": "hello", "Count": 3, "On": true, "Nothing": null } }"#,
            &[("GREETING", "hi"), ("SECRET", "x")],
        )
        .expect("settings load");
        assert_eq!(settings.get("greeting"), Some("hi"));
        assert_eq!(settings.get("SECRET"), Some("x"));
        assert_eq!(settings.values(), map(&[("Greeting", "hi"), ("Count", "3"), ("On", "true"), ("Nothing", "")]));
    }

    #[test]
    fn pages_that_may_call_are_listed_in_the_section_host() {
        let cors = |text: &str| load(text, &[]).map(|settings| settings.cors().cloned());
        let read = cors(r#"{"Host":{"CORS":"https://a.test, http://b.test:3000","CORSCredentials":true}}"#).unwrap();
        let read = read.expect("there are origins");
        assert!(read.credentials && read.allows("http://b.test:3000") && !read.allows("http://b.test"));
        assert!(cors(r#"{"Host":{"CORS":"*"}}"#).unwrap().expect("any").allows("http://c.test"));
        assert_eq!(cors(r#"{"Host":{"LocalHttpPort":7072}}"#).unwrap(), None);
        let message = |text: &str| cors(text).expect_err("not valid").first_error().expect("has one").to_string();
        assert!(message(r#"{"Host":{"CORS":7}}"#).contains("Host.CORS must be a string"));
        assert!(message(r#"{"Host":{"CORS":"*","CORSCredentials":true}}"#).contains("do not go together"));
    }

    #[test]
    fn percent_names_are_replaced_and_other_percent_signs_stay() {
        let settings = load(r#"{"values":{"A":"1","B.c":"2"}}"#, &[]).expect("settings load");
        assert_eq!(settings.resolve("x%A%y%b.C%z"), Ok("x1y2z".to_owned()));
        assert_eq!(settings.resolve("100% of %20 and %%"), Ok("100% of %20 and %%".to_owned()));
        assert_eq!(settings.resolve("%MISSING%"), Err("MISSING".to_owned()));
    }

    #[test]
    fn settings_that_cannot_be_read_say_where() {
        let message =
            |text| load(text, &[]).expect_err("settings are invalid").first_error().expect("has one").to_string();
        assert!(message("{ \"Values\": {\n \"A\": [] } }").contains("the setting 'A' must be a string"));
        assert!(message("{ \"Values\": {\n \"A\": [] } }").contains("local.settings.json:2:7"));
        assert!(message("{ \"IsEncrypted\": true }").contains("encrypted settings are not supported"));
        assert!(message("{ ").contains("local.settings.json:1:"));
        assert!(message("[]").contains("local.settings.json must be a JSON object"));
    }
}
