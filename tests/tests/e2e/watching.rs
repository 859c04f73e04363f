//! A host watches its app's folder: what changes there is served without a restart, and what breaks changes nothing.

use soloist_tests::{
    Host, eventually,
    folder::{AppCopy, COMPONENT},
    instances::path,
};

use crate::versions::{begin, changed};

/// The `function.json` of another echo, on this route.
fn echo(route: &str) -> String {
    format!(
        r#"{{ "scriptFile": "../{COMPONENT}", "entryPoint": "HttpEcho", "bindings": [
            {{ "name": "req", "type": "httpTrigger", "direction": "in", "authLevel": "anonymous", "route": "{route}" }},
            {{ "name": "$return", "type": "http", "direction": "out" }} ] }}"#
    )
}

async fn answers(host: &Host, target: &str, status: u16) {
    eventually(&format!("{target} is answered {status}"), || async {
        (host.get(target).await.status == status).then_some(())
    })
    .await;
}

async fn logs(host: &Host, texts: &[&str]) {
    let is_line = |line: &str| texts.iter().all(|text| line.contains(text));
    eventually(&format!("the log says {texts:?}"), || async { host.log().lines().any(is_line).then_some(()) }).await;
}

#[tokio::test]
async fn a_function_comes_changes_breaks_and_goes_without_a_restart() {
    let app = AppCopy::of(&["HttpEcho", "HttpStartSingle"]);
    let host = Host::builder().app(app.path()).watching().start().await;
    assert_eq!(host.get("/api/second").await.status, 404);

    app.write("Second/function.json", echo("second"));
    answers(&host, "/api/second", 200).await;
    logs(&host, &["the app was reloaded", "added=\"Second\""]).await;
    assert_eq!(host.get("/admin/functions/Second").await.status, 200);

    app.write("Second/function.json", echo("moved"));
    answers(&host, "/api/moved", 200).await;
    assert_eq!(host.get("/api/second").await.status, 404, "one table of routes, not two");

    app.write("Second/function.json", "{ \"bindings\": [ ");
    logs(&host, &["a function is in error: it goes on as it was before", "Second", "function.json"]).await;
    assert_eq!(host.get("/api/moved").await.status, 200);
    assert!(host.get("/admin/host/status").await.text().contains("Second: "), "the admin pages say so");

    app.write("Third/function.json", "{}");
    logs(&host, &["a function is in error and not served", "Third"]).await;
    assert_eq!(host.get("/api/echo/x").await.status, 200);

    app.write("Second/function.json", echo("mended"));
    answers(&host, "/api/mended", 200).await;
    std::fs::remove_dir_all(app.path().join("Second")).unwrap();
    answers(&host, "/api/mended", 404).await;
    logs(&host, &["removed=\"Second\""]).await;
}

#[tokio::test]
async fn a_running_instance_ends_on_the_old_code_and_the_host_goes_on() {
    let app = AppCopy::of(&["HttpStartSingle", "Versioned", "VersionA", "HttpSleep", "HttpEcho"]);
    let host = Host::builder().app(app.path()).watching().start().await;
    begin(&host, "old").await;
    let client = host.client();
    let asleep = tokio::spawn(async move { client.post("/api/sleep", "4000").await });

    app.write(COMPONENT, "not a component");
    logs(&host, &["a function is in error: it goes on as it was before", "Versioned"]).await;
    begin(&host, "still-old").await;
    app.write(COMPONENT, changed("two", "VersionA", 0));
    logs(&host, &["the app was reloaded", "Versioned"]).await;
    begin(&host, "new").await;
    for (id, output) in [("old", "one"), ("still-old", "one"), ("new", "two")] {
        for event in ["Go", "End"] {
            assert_eq!(host.raise(id, event, "1").await.status, 202);
        }
        assert_eq!(host.output(id).await, output, "{id}");
    }
    assert_eq!(asleep.await.unwrap().status, 200, "a request in work ends on what it began with");
    assert_eq!(host.get(&path("old")).await.status, 200);
}

#[tokio::test]
async fn settings_are_read_again_or_said_to_need_a_restart() {
    let app = AppCopy::of(&["HttpEcho", "HttpStartSingle"]);
    let host = Host::builder().app(app.path()).watching().start().await;
    let before = std::fs::read_to_string(app.path().join("host.json")).unwrap();
    let with = |http: &str, cpu: u32| {
        format!(
            r#"{{ "version": "2.0", "extensions": {{ "http": {{ "routePrefix": "{http}" }},
                "soloist": {{ "guestCpuMilliseconds": {cpu} }} }} }}"#
        )
    };
    app.write("host.json", with("else", 4321));
    answers(&host, "/else/echo/x", 200).await;
    assert_eq!(host.get("/api/echo/x").await.status, 404);
    logs(&host, &["restart the host", "extensions.soloist.guestCpuMilliseconds"]).await;
    app.write("host.json", "{ \"version\": ");
    logs(&host, &["the app cannot be reloaded", "host.json"]).await;
    assert_eq!(host.get("/else/echo/x").await.status, 200);
    app.write("host.json", before);
    answers(&host, "/api/echo/x", 200).await;
}

#[tokio::test]
async fn a_host_that_does_not_watch_serves_what_it_began_with() {
    let app = AppCopy::of(&["HttpEcho", "HttpStartSingle"]);
    let watching = Host::builder().app(app.path()).watching().start().await;
    let host = Host::builder().app(app.path()).start().await;
    app.write("Second/function.json", echo("second"));
    answers(&watching, "/api/second", 200).await;
    assert_eq!(host.get("/api/second").await.status, 404);
}
