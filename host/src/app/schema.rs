//! JSON Schemas of `host.json` and `function.json`, made of the tables that the readers use.
//!
//! Names are in the case that the documentation has; the host takes any.

use serde_json::{Map, Value, json};

use super::function_json::{BINDING_KEYS, BINDING_TYPES, BindingType, FUNCTION_KEYS, FunctionKey, RETRY_KEYS};
use super::host_json::{HostJson, KEYS, Key, Kind, LogThreshold};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// What a method may consist of.
const METHOD: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

/// What a time span looks like: `[d.]hh:mm[:ss[.fffffff]]`, or a number of days.
const SPAN: &str = r"^(\d{1,9}|(\d{1,9}\.)?([01]?\d|2[0-3]):[0-5]?\d(:[0-5]?\d(\.\d{1,7})?)?)$";

/// A time span of at least a second, or -1: some part before the fraction is not zero.
fn duration() -> String {
    const DAYS: &str = r"(\d{1,9}\.)?";
    const HOUR: &str = r"([01]?\d|2[0-3])";
    const FRACTION: &str = r"(\.\d{1,7})?";
    let seconds = format!(r"(:[0-5]?\d{FRACTION})?");
    let some = [
        r"0*[1-9]\d*".to_owned(),
        format!(r"0*[1-9]\d*\.{HOUR}:[0-5]?\d{seconds}"),
        format!(r"{DAYS}(0?[1-9]|1\d|2[0-3]):[0-5]?\d{seconds}"),
        format!(r"{DAYS}{HOUR}:(0?[1-9]|[1-5]\d){seconds}"),
        format!(r"{DAYS}{HOUR}:[0-5]?\d:(0?[1-9]|[1-5]\d){FRACTION}"),
    ];
    format!("^(-1|{})$", some.join("|"))
}

/// The schema of `host.json`.
pub fn host_json_schema() -> Value {
    let defaults = HostJson::default().values();
    let mut schema = host_section("", &defaults);
    schema["$schema"] = DRAFT.into();
    schema["title"] = "host.json of Soloist".into();
    schema["required"] = json!(["version"]);
    // An empty file means the defaults, and needs no version.
    json!({ "$schema": DRAFT, "title": schema["title"], "anyOf": [{ "type": "object", "maxProperties": 0 }, schema] })
}

fn host_section(path: &str, defaults: &[(&'static Key, String)]) -> Value {
    let keys = KEYS.iter().filter(|key| !key.path.is_empty() && key.is_in(path));
    let properties: Map<String, Value> = keys.map(|key| (key.name().to_owned(), host_value(key, defaults))).collect();
    // Azure has more extensions than this host knows the names of.
    json!({ "type": "object", "properties": properties, "additionalProperties": path == "extensions" })
}

fn host_value(key: &Key, defaults: &[(&'static Key, String)]) -> Value {
    if key.kind == Kind::Section {
        return host_section(key.path, defaults);
    }
    let mut value = of_kind(key.kind);
    value["description"] = match key.kind {
        Kind::NotApplicable => format!("has no effect here: {}", key.meaning).into(),
        _ => key.meaning.into(),
    };
    let default = defaults.iter().find(|(own, _)| own.path == key.path && own.default.is_none());
    if let Some(default) = default.and_then(|(_, text)| serde_json::from_str(text).ok())
        && !matches!(default, Value::Null)
    {
        value["default"] = default;
    }
    value
}

/// What a value of a kind looks like.
fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Section => json!({ "type": "object" }),
        Kind::NotApplicable => json!({}),
        Kind::Text => json!({ "type": "string" }),
        // The name of a setting may stand for it.
        Kind::Pattern(pattern) => json!({ "type": "string", "pattern": format!("{pattern}|%[^%]+%") }),
        Kind::OneOf(texts) => one_of(texts),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Number(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Positive => json!({ "type": "integer", "minimum": 1 }),
        Kind::Limit => json!({ "type": "integer", "anyOf": [{ "const": -1 }, { "minimum": 1 }] }),
        Kind::Duration => json!({ "type": "string", "pattern": duration() }),
        Kind::Span => json!({ "type": "string", "pattern": SPAN }),
        // A text is a list parted by commas.
        Kind::Texts => json!({ "type": ["array", "string"], "items": { "type": "string" } }),
        Kind::TextMap => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::LogLevels => json!({ "type": "object", "additionalProperties": { "enum": LogThreshold::NAMES } }),
    }
}

/// One of some texts: as the documentation has them, which editors offer, or in another case.
fn one_of(texts: &[&str]) -> Value {
    let any_case = |text: &&str| -> String {
        let class = |c: char| match c.is_ascii_alphabetic() {
            true => format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()),
            false => format!("[{c}]"),
        };
        text.chars().map(class).collect()
    };
    let pattern = texts.iter().map(any_case).collect::<Vec<_>>().join("|");
    json!({ "type": "string", "anyOf": [{ "enum": texts }, { "pattern": format!("^({pattern})$") }] })
}

/// The schema of `function.json`.
pub fn function_json_schema() -> Value {
    let mut properties = properties_of(&[FUNCTION_KEYS]);
    let bindings: Vec<Value> = BINDING_TYPES.iter().map(binding).collect();
    properties["bindings"] = json!({
        "type": "array",
        "items": { "anyOf": bindings },
        "contains": { "properties": { "type": { "pattern": "[tT][rR][iI][gG][gG][eE][rR]$" } }, "required": ["type"] },
        "minContains": 1,
        "maxContains": 1,
    });
    properties["retry"] = json!({
        "type": "object",
        "properties": properties_of(&[RETRY_KEYS]),
        "required": ["strategy", "maxRetryCount"],
        "additionalProperties": false,
    });
    properties["retry"]["properties"]["maxRetryCount"] = json!({ "type": "integer", "minimum": -1 });
    properties["disabled"] = json!({ "type": ["boolean", "string"] });
    for key in FUNCTION_KEYS {
        properties[key.name]["description"] = key.meaning.into();
    }
    json!({
        "$schema": DRAFT,
        "title": "function.json of Soloist",
        "type": "object",
        "properties": properties,
        "required": ["bindings"],
        "additionalProperties": false,
    })
}

fn properties_of(tables: &[&[FunctionKey]]) -> Value {
    let property = |key: &FunctionKey| {
        let mut value = match key.kind {
            // Here a list is a list: of methods.
            Kind::Texts => json!({ "type": "array", "items": { "type": "string", "pattern": METHOD } }),
            kind => of_kind(kind),
        };
        value["description"] = key.meaning.into();
        (key.name.to_owned(), value)
    };
    Value::Object(tables.iter().copied().flatten().map(property).collect())
}

fn binding(kind: &BindingType) -> Value {
    let mut properties = properties_of(&[BINDING_KEYS, kind.keys]);
    properties["type"] = one_of(kind.names);
    properties["type"]["description"] = kind.meaning.into();
    properties["direction"] = one_of(&[kind.direction]);
    let mut required = vec!["type", "name"];
    if kind.direction == "out" {
        required.push("direction");
    }
    if kind.keys.iter().any(|key| key.name == "schedule") {
        required.push("schedule");
    }
    json!({
        "type": "object",
        "description": kind.meaning,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn validate(schema: &Value, text: &str) -> Result<(), String> {
        let plain = super::super::json::Document::parse(
            Path::new("f"),
            text.as_bytes().to_vec(),
            crate::app::Code::HostJsonSyntax,
        );
        let plain = plain.expect("is JSON").into_root().map_or("{}".to_owned(), |root| root.to_json());
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("schema.json", schema.clone()).expect("is a schema");
        let index = compiler.compile("schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        let value = serde_json::from_str(&plain).expect("is plain JSON");
        schemas.validate(&value, index).map_err(|error| format!("{error:#}"))
    }

    /// The files of that name in the repository's apps.
    fn files(name: &str) -> Vec<PathBuf> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let apps = ["functions", "tests/app"].map(|app| repository.join(app));
        let folders =
            apps.iter().flat_map(|app| std::fs::read_dir(app).expect("is there")).map(|entry| entry.unwrap().path());
        apps.iter().cloned().chain(folders).map(|folder| folder.join(name)).filter(|file| file.is_file()).collect()
    }

    #[test]
    fn the_files_of_the_sample_app_and_of_the_tests_are_valid() {
        let (host, function) = (host_json_schema(), function_json_schema());
        assert!(files("host.json").len() >= 2 && files("function.json").len() > 40);
        for (schema, name) in [(&host, "host.json"), (&function, "function.json")] {
            for file in files(name) {
                let text = std::fs::read_to_string(&file).unwrap();
                validate(schema, &text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            }
        }
    }

    #[test]
    fn what_the_readers_refuse_the_schemas_refuse() {
        let host = host_json_schema();
        let soloist = |text: &str| format!(r#"{{ "version": "2.0", "extensions": {{ "soloist": {{ {text} }} }} }}"#);
        assert_eq!(validate(&host, &soloist(r#""jsonDepth": 128, "allowedHosts": ["a"]"#)), Ok(()));
        assert_eq!(
            validate(&host, &soloist(r#""allowedHosts": "a, b", "retention": { "failed": "7.00:00:00" }"#)),
            Ok(())
        );
        let hub = |name: &str| {
            let text =
                format!(r#"{{ "version": "2.0", "extensions": {{ "durableTask": {{ "hubName": "{name}" }} }} }}"#);
            validate(&host, &text)
        };
        assert!(hub("%HUB%").is_ok() && hub("Hub").is_ok() && hub("a-b").is_err());
        for (timeout, is_good) in [
            ("00:05:00", true),
            ("00:00:01", true),
            ("1", true),
            ("-1", true),
            ("23:59", true),
            ("10.00:00", true),
            ("00:00:01.5", true),
            ("0.00:01", true),
            ("0.00:00:00", false),
            ("00:00:00", false),
            ("00:00:00.5", false),
            ("0", false),
            ("24:00:00", false),
            ("00:60:00", false),
        ] {
            let text = format!(r#"{{ "version": "2.0", "functionTimeout": "{timeout}" }}"#);
            assert_eq!(validate(&host, &text).is_ok(), is_good, "{timeout}");
        }
        let http = |text: &str| format!(r#"{{ "version": "2.0", "extensions": {{ "http": {{ {text} }} }} }}"#);
        assert!(validate(&host, &http(r#""hsts": { "maxAge": "-1" }"#)).is_err());
        for text in [r#""jsonDepth": 129"#, r#""jsonDepht": 1"#, r#""allowedHosts": 1"#, r#""azureStatusCodes": 1"#] {
            assert!(validate(&host, &soloist(text)).is_err(), "{text}");
        }
        assert!(validate(&host, r#"{ "functionTimeout": "00:01:00" }"#).is_err(), "no version");
        assert_eq!(validate(&host, "{}"), Ok(()));
        let function = function_json_schema();
        let binding = |text: &str| validate(&function, &format!(r#"{{ "bindings": [ {{ {text} }} ] }}"#));
        assert_eq!(binding(r#""type": "timerTrigger", "name": "t", "schedule": "0 * * * *""#), Ok(()));
        assert_eq!(
            binding(r#""type": "HttpTrigger", "name": "req", "direction": "IN", "authLevel": "Anonymous""#),
            Ok(())
        );
        for text in [
            r#""type": "timerTrigger", "name": "t""#,
            r#""type": "queueTrigger", "name": "t""#,
            r#""type": "httpTrigger", "name": "1""#,
            r#""type": "http", "name": "res", "direction": "in""#,
            r#""type": "httpTrigger", "name": "req", "authlevel": "anonymous""#,
            r#""type": "httpTrigger", "name": "req", "methods": "get""#,
            r#""type": "httpTrigger", "name": "req", "methods": ["g t"]"#,
            r#""type": "httpTrigger", "name": "req" }, { "type": "timerTrigger", "name": "t", "schedule": "1""#,
            r#""type": "http", "name": "res", "direction": "out""#,
        ] {
            assert!(binding(text).is_err(), "{text}");
        }
        assert!(validate(&function, r#"{ "bindings": [] }"#).is_err());
    }

    #[test]
    fn the_schemas_know_every_key_that_the_readers_know() {
        let host = host_json_schema();
        let host = &host["anyOf"][1];
        for key in KEYS {
            let found = key.path.split('.').try_fold(host, |at, name| at["properties"].get(name));
            assert!(found.is_some(), "{}", key.path);
        }
        let function = function_json_schema();
        for key in FUNCTION_KEYS {
            assert!(function["properties"].get(key.name).is_some(), "{}", key.name);
        }
        let bindings = function["properties"]["bindings"]["items"]["anyOf"].as_array().unwrap();
        for (kind, schema) in BINDING_TYPES.iter().zip(bindings) {
            for key in BINDING_KEYS.iter().chain(kind.keys) {
                assert!(schema["properties"].get(key.name).is_some(), "{:?} {}", kind.names, key.name);
            }
        }
    }
}
