//! Whole apps in temporary folders: what is found, what is excluded and why.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::durable::OverridableStates;

/// An app folder that is built file by file.
struct TestApp {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl TestApp {
    fn new() -> Self {
        TestApp { folder: tempfile::tempdir().expect("temp folder"), environment: Vec::new() }
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("has a folder")).expect("create folder");
        fs::write(path, text).expect("write file");
        self
    }

    /// A function with a component of its own.
    fn function(self, name: &str, function_json: &str) -> Self {
        self.file(&format!("{name}/function.json"), function_json).file(&format!("{name}/function.wasm"), "")
    }

    /// A function with these bindings and a component of its own.
    fn bindings(self, name: &str, bindings: &str) -> Self {
        self.function(name, &format!("{{ \"bindings\": [ {bindings} ] }}"))
    }

    fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn load(&self) -> App {
        App::load(self.root(), self.environment.clone()).expect("the app loads")
    }

    /// The reason for which the only function is excluded, and its place in `function.json`.
    fn refusal(&self) -> (String, Option<Position>) {
        let app = self.load();
        assert!(app.functions.is_empty(), "it should be excluded: {:?}", app.functions);
        let [excluded] = &app.excluded[..] else { panic!("one excluded function: {:?}", app.excluded) };
        (excluded.reason.clone(), excluded.position)
    }
}

const HTTP: &str = r#"{ "type": "httpTrigger", "name": "req", "direction": "in" }"#;
const ACTIVITY: &str = r#"{ "type": "activityTrigger", "name": "input", "direction": "in" }"#;
const ORCHESTRATION: &str = r#"{ "type": "orchestrationTrigger", "name": "context", "direction": "in" }"#;

fn names(app: &App) -> Vec<&str> {
    app.functions.iter().map(|function| function.name.as_str()).collect()
}

fn reason_for(bindings: &str) -> String {
    TestApp::new().bindings("F", bindings).refusal().0
}

#[test]
fn functions_are_found_in_the_order_of_their_names() {
    let app = TestApp::new()
        .bindings("b", HTTP)
        .bindings("A", HTTP)
        .bindings("a_x", ACTIVITY)
        .bindings("aX", ORCHESTRATION)
        .bindings(".hidden", HTTP)
        .bindings("target", HTTP)
        .file("shared/lib.rs", "")
        .file("file.txt", "")
        .load();
    assert_eq!(names(&app), ["A", "aX", "a_x", "b"]);
    assert!(app.excluded.is_empty(), "{:?}", app.excluded);
}

#[test]
fn host_json_can_list_the_only_functions_to_load() {
    let app = TestApp::new()
        .file("host.json", r#"{ "version": "2.0", "functions": ["b"] }"#)
        .bindings("A", HTTP)
        .bindings("B", HTTP)
        .load();
    assert_eq!(names(&app), ["B"]);
}

#[test]
fn an_http_starter_is_read_with_defaults_and_any_case() {
    let app = TestApp::new()
        .function(
            "HttpStart",
            r#"// a starter
            { "Bindings": [
                { "AuthLevel": "Anonymous", "Name": "req", "Type": "HTTPTRIGGER", "Direction": "IN",
                  "Route": "orchestrators/{functionName}/{instanceId?}", "methods": ["post", "Get", "GET"] },
                { "name": "$return", "type": "http", "direction": "out" },
                { "name": "starter", "type": "orchestrationClient", "direction": "in",
                  "overridableExistingInstanceStates": "none", "taskHub": "testhubname" },
              ],
              "entryPoint": "start" }"#,
        )
        .bindings("Plain", HTTP)
        .load();
    let start = app.function("httpstart").expect("is loaded");
    assert_eq!(start.handler, "start");
    assert_eq!(start.trigger_binding, "req");
    assert_eq!(start.http_output.as_deref(), Some("$return"));
    let client = start.client.as_ref().expect("is bound");
    assert_eq!(client.overridable_existing_instance_states, Some(OverridableStates::None));
    let http = start.http().expect("is an http function");
    assert_eq!(
        (http.auth_level, &http.methods[..]),
        (AuthLevel::Anonymous, &["POST".to_owned(), "GET".to_owned()][..])
    );
    assert_eq!(start.bindings(), ["req: httpTrigger", "starter: durableClient", "$return: http"]);

    let plain = app.function("Plain").expect("is loaded");
    assert_eq!((plain.handler.as_str(), plain.disabled, plain.client.is_none()), ("Plain", false, true));
    let http = plain.http().expect("is an http function");
    assert_eq!((http.auth_level, http.methods.len(), http.route.as_str()), (AuthLevel::Function, 0, "Plain"));
    assert!(app.routes.find("PATCH", "/api/plain").is_some());
    let found = app.routes.find("POST", "/api/Orchestrators/E1/x%20y").expect("route matches");
    assert_eq!(app.functions[found.function].name, "HttpStart");
    let param = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(found.params, [param("functionName", "E1"), param("instanceId", "x y")]);
}

#[test]
fn durable_names_default_to_the_function_and_can_be_overridden() {
    let app = TestApp::new()
        .bindings("Orch", r#"{ "type": "orchestrationTrigger", "name": "c", "orchestration": "Other" }"#)
        .bindings("Act", r#"{ "type": "activityTrigger", "name": "c" }"#)
        .bindings("Ent", r#"{ "type": "entityTrigger", "name": "c", "entityName": "Counter" }"#)
        .bindings(
            "Tick",
            r#"{ "type": "timerTrigger", "name": "t", "schedule": "0 */5 * * * *", "runOnStartup": true }"#,
        )
        .load();
    let trigger = |name: &str| &app.function(name).expect("is loaded").trigger;
    assert!(matches!(trigger("Orch"), Trigger::Orchestration { name } if name == "Other"));
    assert!(matches!(trigger("Act"), Trigger::Activity { name } if name == "Act"));
    assert!(matches!(trigger("Ent"), Trigger::Entity { name } if name == "Counter"));
    assert!(matches!(trigger("Tick"), Trigger::Timer(timer) if timer.run_on_startup && timer.use_monitor));
}

#[test]
fn a_bad_function_has_the_text_of_the_original() {
    let http_named = |name: &str| format!(r#"{{ "type": "httpTrigger", "name": "{name}" }}"#);
    for (bindings, reason) in [
        (String::new(), "At least one binding must be declared."),
        (
            r#"{ "type": "http", "name": "res", "direction": "out" }"#.to_owned(),
            "No trigger binding specified. A function must have a trigger input binding.",
        ),
        (
            format!("{HTTP}, {ACTIVITY}"),
            "Multiple trigger bindings defined. A function can only have a single trigger binding.",
        ),
        (r#"{ "name": "x" }"#.to_owned(), "Binding 'x' is invalid. Bindings must specify a Type."),
        (http_named("1x"), "The binding name 1x is invalid. Please assign a valid name to the binding."),
        (http_named("a_b"), "The binding name a_b is invalid. Please assign a valid name to the binding."),
        (
            r#"{ "type": "httpTrigger" }"#.to_owned(),
            "The binding name  is invalid. Please assign a valid name to the binding.",
        ),
        (http_named("$return"), "$return bindings must specify a direction of 'out'."),
        (
            format!(r#"{HTTP}, {{ "type": "http", "name": "REQ", "direction": "out" }}"#),
            "Multiple bindings with name 'REQ' discovered. Binding names must be unique.",
        ),
        (
            r#"{ "type": "httpTrigger", "name": "req", "direction": "inward" }"#.to_owned(),
            "'inward' is not a valid binding direction.",
        ),
        (
            r#"{ "type": "httpTrigger", "name": "req", "authLevel": "nobody" }"#.to_owned(),
            "Error parsing function.json: Invalid value specified for binding property 'authLevel' of enum type \
             AuthorizationLevel.",
        ),
        (
            r#"{ "type": "httpTrigger", "name": "req", "methods": "get" }"#.to_owned(),
            "Error parsing function.json: Invalid value specified for binding property 'methods' of type String[].",
        ),
        (
            r#"{ "type": "httpTrigger", "name": "req", "route": 7 }"#.to_owned(),
            "Error parsing function.json: Invalid value specified for binding property 'route' of type String.",
        ),
        (
            r#"{ "type": "timerTrigger", "name": "t", "schedule": "often" }"#.to_owned(),
            "The schedule expression 'often' was not recognized as a valid cron expression or timespan string.",
        ),
        (
            r#"{ "type": "timerTrigger", "name": "t", "schedule": "* * * * *", "useMonitor": 7 }"#.to_owned(),
            "Error parsing function.json: Invalid value specified for binding property 'useMonitor' of type Boolean.",
        ),
        (
            r#"{ "type": "orchestrationTrigger", "name": "c", "orchestration": "@x" }"#.to_owned(),
            "Orchestration names must not start with @.",
        ),
        (
            r#"{ "type": "httpTrigger", "name": "req", "route": "/Admin/x" }"#.to_owned(),
            "The specified route conflicts with one or more built in routes.",
        ),
        (
            r#"{ "type": "httpTrigger", "name": "req", "route": "runtime" }"#.to_owned(),
            "The specified route conflicts with one or more built in routes.",
        ),
    ] {
        assert_eq!(reason_for(&bindings), reason, "{bindings}");
    }
}

#[test]
fn what_is_not_supported_is_refused_with_the_remedy() {
    let reason = reason_for(r#"{ "type": "queueTrigger", "name": "q" }"#);
    assert!(
        reason
            .starts_with("the binding type 'queueTrigger' of binding 'q' is not supported: supported are httpTrigger")
    );
    let client = |rest: &str| format!(r#"{HTTP}, {{ "type": "durableClient", "name": "starter", {rest} }}"#);
    let reason = reason_for(&client(r#""direction": "out""#));
    assert!(reason.contains("must have the direction 'in'") && reason.contains("start_new"), "{reason}");
    let reason = reason_for(&client(r#""direction": "in", "taskHub": "Elsewhere""#));
    assert!(reason.contains("leave 'taskHub' out, or name the app's own, 'TestHubName'"), "{reason}");
    let reason = reason_for(&client(r#""overridableExistingInstanceStates": "some""#));
    assert!(reason.contains("'overridableExistingInstanceStates' of enum type OverridableStates"), "{reason}");
    let reason = reason_for(&format!(r#"{ORCHESTRATION}, {{ "type": "durableClient", "name": "starter" }}"#));
    assert!(reason.contains("orchestrators and entities cannot use a durable client"), "{reason}");
    let reason = reason_for(r#"{ "type": "httpTrigger", "name": "req", "route": "{a" }"#);
    assert!(reason.starts_with("the route template '{a' is invalid"), "{reason}");
    let reason = reason_for(r#"{ "type": "httpTrigger", "name": "req", "direction": "out" }"#);
    assert_eq!(reason, "the trigger binding 'req' must have the direction 'in'");
}

#[test]
fn a_refusal_names_line_and_column() {
    let app = TestApp::new().function(
        "F",
        "{ \"bindings\": [\n  { \"type\": \"httpTrigger\", \"name\": \"req\",\n    \"authLevel\": \"x\" } ] }",
    );
    assert_eq!(app.refusal().1, Some(Position { line: 3, column: 18 }));
    let text = app.load().excluded[0].to_string();
    assert!(text.starts_with("The 'F' function is in error: Error parsing function.json: "), "{text}");
    assert!(text.ends_with("function.json:3:18)"), "{text}");

    let app = TestApp::new().function("F", "{\n \"bindings\": [ }");
    let (reason, position) = app.refusal();
    assert!(reason.starts_with("Error parsing function.json: "), "{reason}");
    assert_eq!(position.map(|position| position.line), Some(2));
    assert_eq!(TestApp::new().function("F", "").refusal().0, "At least one binding must be declared.");
    assert_eq!(TestApp::new().function("F", "{}").refusal().0, "At least one binding must be declared.");
    assert_eq!(TestApp::new().function("F", "[]").refusal().0, "function.json must be a JSON object");
    let reason = TestApp::new().function("F", r#"{ "configurationSource": "x", "bindings": [] }"#).refusal().0;
    assert_eq!(reason, "Illegal value 'x' for 'configurationSource' property in F'.");
}

#[test]
fn names_that_are_not_function_names_are_excluded() {
    for name in ["1abc", "a.b", "host", "ä"] {
        let reason = TestApp::new().bindings(name, HTTP).refusal().0;
        assert_eq!(reason, format!("'{name}' is not a valid function name."));
    }
}

#[test]
fn a_second_function_with_the_same_name_route_or_durable_name_is_excluded() {
    let route = |methods: &str| {
        format!(r#"{{ "type": "httpTrigger", "name": "req", "route": "/X/{{id}}", "methods": [{methods}] }}"#)
    };
    let app = TestApp::new()
        .bindings("A", &route(r#""get""#))
        .bindings("B", &route(r#""post""#))
        .bindings("C", &route(r#""GET", "PUT""#).replace("/X/", "x/"))
        .bindings("D", &route("").replace("/{id}", "/{ID}/"))
        .bindings("E", ORCHESTRATION)
        .bindings("G", r#"{ "type": "orchestrationTrigger", "name": "c", "orchestration": "e" }"#)
        .bindings("H", r#"{ "type": "activityTrigger", "name": "c", "activity": "e" }"#)
        .bindings("h", HTTP)
        .load();
    assert_eq!(names(&app), ["A", "B", "E", "H"]);
    let reasons: Vec<(&str, &str)> =
        app.excluded.iter().map(|excluded| (excluded.function.as_str(), excluded.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            ("C", "The route specified conflicts with the route defined by function 'A'."),
            ("D", "The route specified conflicts with the route defined by function 'A'."),
            ("G", "the orchestration name 'e' is already used by function 'E': give one of them another name"),
            ("h", "another folder has the name 'h' but for upper and lower case: rename one"),
        ]
    );
}

#[test]
fn settings_are_put_into_bindings() {
    let binding = r#"{ "type": "httpTrigger", "name": "req", "route": "%ROUTE%/{id}" }"#;
    let app = TestApp::new().bindings("F", binding).environment("Route", "orders").load();
    assert_eq!(app.functions[0].http().map(|http| http.route.as_str()), Some("orders/{id}"));
    let excluded = &TestApp::new().bindings("F", binding).load().excluded[0];
    let reason = excluded.text();
    assert!(reason.starts_with("'%ROUTE%' does not resolve to a value: set ROUTE"), "{reason}");
    assert!(excluded.position.is_some());
}

#[test]
fn a_function_can_be_disabled_by_file_and_by_setting() {
    let with = |disabled: &str| format!(r#"{{ "disabled": {disabled}, "bindings": [ {ACTIVITY} ] }}"#);
    let app = TestApp::new()
        .function("A", &with("true"))
        .function("B", &with("false"))
        .function("C", &with("\"OFF\""))
        .function("D", &with("\"UNSET\""))
        .bindings("E", ACTIVITY)
        .environment("off", "1")
        .environment("azurewebjobs.e.disabled", "True")
        .load();
    let disabled: Vec<bool> = app.functions.iter().map(|function| function.disabled).collect();
    assert_eq!(disabled, [true, false, true, false, true]);
    let reason = TestApp::new().function("F", &with("[]")).refusal().0;
    assert!(reason.ends_with("'disabled' of type Boolean."), "{reason}");
}

#[test]
fn retry_is_read_and_checked() {
    let with =
        |retry: &str| TestApp::new().function("F", &format!(r#"{{ "retry": {retry}, "bindings": [ {ACTIVITY} ] }}"#));
    let app = with(r#"{ "strategy": "fixedDelay", "maxRetryCount": 3, "delayInterval": "00:00:10" }"#).load();
    let expected = Retry::FixedDelay { max_retry_count: Some(3), delay: std::time::Duration::from_secs(10) };
    assert_eq!(app.functions[0].retry, Some(expected));
    let app = with(
        r#"{ "strategy": "exponentialBackoff", "maxRetryCount": -1, "minimumInterval": "00:00:01", "maximumInterval": "00:01:00" }"#,
    )
    .load();
    assert!(matches!(app.functions[0].retry, Some(Retry::ExponentialBackoff { max_retry_count: None, .. })));
    assert!(with(r#"{ "strategy": "fixedDelay", "maxRetryCount": 3 }"#).refusal().0.contains("'delayInterval'"));
    assert!(with(r#"{ "strategy": "fixedDelay" }"#).refusal().0.contains("'maxRetryCount'"));
    assert!(with(r#"{ "maxRetryCount": 1 }"#).refusal().0.contains("'strategy'"));
}

#[test]
fn the_component_is_found_by_the_rules() {
    let json = |script: &str| format!(r#"{{ {script} "bindings": [ {ACTIVITY} ] }}"#);
    let app = TestApp::new()
        .file("shared.wasm", "")
        .file("Cargo.toml", "[package]\nname = \"my-app\"\n")
        .file("my_app.wasm", "")
        .file("A/function.json", &json(r#""scriptFile": "../shared.wasm","#))
        .file("B/function.json", &json(""))
        .file("B/only.WASM", "")
        .file("C/function.json", &json(""))
        .file("C/Cargo.toml", "[package]\nname = \"c\"\n[lib]\nname = \"see\"\n")
        .file("C/see.wasm", "")
        .file("C/other.wasm", "")
        .file("D/function.json", &json(""))
        .file("D/run.wasm", "")
        .file("D/x.wasm", "")
        .file("E/function.json", &json(""))
        .load();
    assert!(app.excluded.is_empty(), "{:?}", app.excluded);
    let scripts: Vec<_> = app
        .functions
        .iter()
        .map(|function| function.script.strip_prefix(&app.root).expect("is inside the app").to_owned())
        .collect();
    assert_eq!(
        scripts,
        ["shared.wasm", "B/only.WASM", "C/see.wasm", "D/run.wasm", "my_app.wasm"].map(std::path::PathBuf::from)
    );
}

#[test]
fn a_missing_component_says_what_helps() {
    let json = |script: &str| format!(r#"{{ {script} "bindings": [ {ACTIVITY} ] }}"#);
    let reason = |app: TestApp| app.load().excluded[0].text();
    assert_eq!(
        reason(TestApp::new().file("F/function.json", &json(r#""scriptFile": "x.wasm","#))),
        "Invalid script file name configuration. The 'scriptFile' property is set to a file that does not exist."
    );
    let with_crate = TestApp::new()
        .file("F/function.json", &json(r#""scriptFile": "../f.wasm","#))
        .file("Cargo.toml", "[package]\nname = \"f\"\n");
    assert!(reason(with_crate).ends_with("does not exist. Run `soloist build` to make it."));
    assert_eq!(
        reason(TestApp::new().file("F/function.json", &json(""))),
        "Unable to determine the primary function script. Make sure at least one script file is present. Try renaming \
         your entry point script to 'run' or alternatively you can specify the name of the entry point script explicitly \
         by adding a 'scriptFile' property to your function metadata."
    );
    let unbuilt = TestApp::new().file("F/function.json", &json("")).file("F/Cargo.toml", "[package]\nname = \"f-g\"\n");
    let text = reason(unbuilt);
    assert!(text.contains("f_g.wasm does not exist: run `soloist build`"), "{text}");
    let absolute = TestApp::new().file("F/function.json", &json(r#""scriptFile": "/bin/true","#));
    assert!(reason(absolute).starts_with("'scriptFile' must be relative"));
}

#[cfg(unix)]
#[test]
fn a_component_outside_of_the_app_is_refused_even_through_a_link() {
    let outside = TestApp::new().file("x.wasm", "");
    let json = format!(r#"{{ "scriptFile": "link.wasm", "bindings": [ {ACTIVITY} ] }}"#);
    let app = TestApp::new().file("F/function.json", &json);
    std::os::unix::fs::symlink(outside.root().join("x.wasm"), app.root().join("F/link.wasm")).expect("link");
    assert!(app.refusal().0.contains("is outside of the app folder"));
    let inner = TestApp::new().file("F/function.json", &json).file("real.wasm", "");
    std::os::unix::fs::symlink("../real.wasm", inner.root().join("F/link.wasm")).expect("link");
    assert_eq!(inner.load().functions[0].script, inner.load().root.join("real.wasm"));
}

#[test]
fn a_function_json_that_cannot_be_read_excludes_only_its_function() {
    let app = TestApp::new().bindings("A", HTTP).file("B/function.json/x", "").load();
    assert_eq!(names(&app), ["A"]);
    assert_eq!(app.excluded[0].reason, "cannot read function.json: it is not a file");
}

#[test]
fn an_app_folder_that_cannot_be_used_is_an_error() {
    let app = TestApp::new().file("file", "");
    let message = |path: &str| App::load(&app.root().join(path), []).expect_err("cannot load").to_string();
    assert!(message("missing").contains("missing not found"), "{}", message("missing"));
    assert!(message("file").ends_with("file is not a folder: give the folder that holds host.json"));
}

#[test]
fn a_file_that_is_not_utf8_says_what_helps() {
    let utf16: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for file in ["host.json", "Hello/function.json"] {
        let folder = tempfile::tempdir().expect("temp folder");
        std::fs::create_dir(folder.path().join("Hello")).expect("a folder");
        std::fs::write(folder.path().join(file), &utf16).expect("a file");
        let report = App::load(folder.path(), []).map_or_else(|error| error.report, |app| app.report);
        let found = report.first_error().expect("there is one");
        assert!(found.message.ends_with("he file is not UTF-8 text"), "{found:?}");
        assert_eq!(found.help.as_deref(), Some("save it as UTF-8"), "{found:?}");
    }
}

#[test]
fn an_empty_list_of_bindings_is_no_misspelt_one() {
    let meant = |text: &str| {
        let folder = tempfile::tempdir().expect("temp folder");
        std::fs::create_dir(folder.path().join("Hello")).expect("a folder");
        std::fs::write(folder.path().join("Hello/function.json"), text).expect("a file");
        let app = App::load(folder.path(), []).expect("it loads");
        app.report.first_error().expect("there is one").did_you_mean.clone()
    };
    assert_eq!(meant(r#"{ "bindings": [] }"#), None);
    assert_eq!(meant(r#"{ "bindigs": [] }"#).as_deref(), Some("bindings"));
}

#[test]
fn a_functions_own_folder_is_no_app() {
    let app = TestApp::new().file("function.json", r#"{ "bindings": [] }"#);
    let report = app.load().report;
    assert_eq!(report.diagnostics()[0].help.as_deref(), Some("this is a function's own folder: name the one above it"));
}
