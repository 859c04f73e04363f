//! Whatever the files of an app hold, reading them ends with findings that point into them.

use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Loads an app of these three files, and checks every place in what was found.
fn report_of(host_json: &[u8], function_json: &[u8], settings: &[u8]) -> Report {
    let folder = tempfile::tempdir().expect("temp folder");
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("has a folder")).expect("create folder");
        std::fs::write(path, bytes).expect("write");
    };
    write("host.json", host_json);
    write("local.settings.json", settings);
    write("F/function.json", function_json);
    write("F/function.wasm", b"");
    let report = match App::load(folder.path(), []) {
        Ok(app) => {
            assert!(app.excluded.len() + app.functions.len() <= 1);
            assert_eq!(app.report.first_error().is_some(), !app.excluded.is_empty(), "{:?}", app.report);
            app.report
        }
        Err(error) => {
            assert!(error.report.first_error().is_some() && !error.to_string().is_empty());
            error.report
        }
    };
    report.diagnostics().iter().for_each(check_place);
    report
}

/// A place is in its file: a span is, from its first character to one after its last.
fn check_place(diagnostic: &Diagnostic) {
    assert!(!diagnostic.message.is_empty());
    let Origin::File { file, span } = &diagnostic.origin else { return };
    assert!(file.exists(), "{diagnostic:?}");
    let Some(span) = span else { return };
    let bytes = std::fs::read(file).expect("it is there");
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.strip_prefix(json::BOM).unwrap_or(&text).split('\n').collect();
    for position in [span.start, span.end] {
        let line = lines.get(position.line - 1).unwrap_or_else(|| panic!("{diagnostic:?} in {text:?}"));
        assert!((1..=line.chars().count() + 1).contains(&position.column), "{diagnostic:?} in {text:?}");
    }
    assert!(span.start <= span.end, "{diagnostic:?}");
}

/// Names that mean something, with case and slips, and some that mean nothing.
fn name() -> impl Strategy<Value = String> {
    let known: Vec<String> = KEYS
        .iter()
        .map(|key| key.name().to_owned())
        .chain(FUNCTION_KEYS.iter().chain(RETRY_KEYS).chain(BINDING_KEYS).map(|key| key.name.to_owned()))
        .chain(BINDING_TYPES.iter().flat_map(|kind| kind.keys).map(|key| key.name.to_owned()))
        .chain(["Values", "IsEncrypted", "Host"].map(str::to_owned))
        .collect();
    prop_oneof![
        6 => prop::sample::select(known.clone()),
        1 => prop::sample::select(known).prop_map(|name| name.to_uppercase()),
        1 => "\\PC{0,8}",
    ]
}

/// Values that keys have, and others.
fn leaf() -> impl Strategy<Value = Value> {
    let texts = [
        "2.0",
        "true",
        "-1",
        "00:05:00",
        "httpTrigger",
        "orchestrationTrigger",
        "timerTrigger",
        "durableClient",
        "http",
        "in",
        "out",
        "$return",
        "req",
        "0 */5 * * * *",
        "%X%",
        "a/{b:int}",
        "{",
        "@x",
        "fixedDelay",
        "AnyState",
        "*",
        "10.0.0.0/8",
        "function",
        "../F/function.wasm",
        "/x",
        "",
    ];
    prop_oneof![
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2_i64..200).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..6).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A `function.json` whose bindings are nearly such.
fn function_json() -> impl Strategy<Value = Value> {
    let binding = prop::collection::vec((name(), leaf()), 0..6)
        .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>());
    let bindings = prop::collection::vec(binding, 0..3);
    (bindings, prop::collection::vec((name(), value()), 0..3)).prop_map(|(bindings, others)| {
        let mut root: serde_json::Map<String, Value> = others.into_iter().collect();
        let bindings = bindings.into_iter().map(|mut binding| {
            binding.entry("name").or_insert("b".into());
            binding.entry("type").or_insert("timerTrigger".into());
            Value::Object(binding)
        });
        root.insert("bindings".to_owned(), bindings.collect());
        Value::Object(root)
    })
}

fn host_json() -> impl Strategy<Value = Value> {
    let section = || {
        prop::collection::vec((name(), value()), 0..5).prop_map(|members| Value::Object(members.into_iter().collect()))
    };
    (section(), section(), section(), section()).prop_map(|(top, http, durable, soloist)| {
        let mut top = top;
        top["version"] = "2.0".into();
        top["extensions"] = serde_json::json!({ "http": http, "durableTask": durable, "soloist": soloist });
        top
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_reading_an_app_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
        text in "(\u{feff})?[\\[\\]{}\",:/*a\\\\u0 \r\n\tétrue1.e-]{0,48}",
    ) {
        for bytes in [&bytes[..], text.as_bytes()] {
            let report = report_of(bytes, bytes, bytes);
            let is_json = |file: &str| json::Document::parse(Path::new(file), bytes.to_vec(), Code::HostJsonSyntax).is_ok();
            for code in [Code::HostJsonSyntax, Code::FunctionJsonSyntax, Code::SettingsSyntax] {
                let found = report.diagnostics().iter().find(|found| found.code == code);
                prop_assert_eq!(found.is_some(), !is_json("f"), "{:?}", report);
                prop_assert!(found.is_none_or(|found| found.origin.position().is_some()));
            }
        }
    }

    #[test]
    fn no_values_make_reading_an_app_panic(host in host_json(), function in function_json(), settings in value()) {
        report_of(host.to_string().as_bytes(), function.to_string().as_bytes(), settings.to_string().as_bytes());
        // The same over many lines.
        let pretty = |value: &Value| format!("\u{feff}// é\r\n{value:#}").into_bytes();
        report_of(&pretty(&host), &pretty(&function), &pretty(&settings));
    }

    #[test]
    fn no_values_at_all_make_reading_an_app_panic(host in value(), function in value(), settings in value()) {
        report_of(host.to_string().as_bytes(), function.to_string().as_bytes(), settings.to_string().as_bytes());
    }
}

#[test]
fn a_file_that_nests_deeply_is_refused_with_its_place() {
    let deep = "[".repeat(100_000);
    let report = report_of(b"{}", deep.as_bytes(), b"{}");
    assert_eq!(report.diagnostics().iter().map(|found| found.code).collect::<Vec<_>>(), [Code::FunctionJsonSyntax]);
}
