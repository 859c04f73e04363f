//! The host's OpenAPI document is one by the standard's own schema, and the host answers as it says: schemathesis makes
//! requests of it, right and wrong ones, and looks at every answer.

use std::process::Stdio;

use soloist_tests::{Host, folder::AppCopy};
use tokio::process::Command;

use crate::{
    PATIENCE,
    install::{Toolbox, install},
};

/// What schemathesis finds wrong and is meant: a value of a query that cannot be read counts as absent, an unknown function
/// is a 400, and a method that is not served is a 404, as with Azure.
const MEANT: &str = "negative_data_rejection,positive_data_acceptance,unsupported_method,missing_required_header";

/// Runs a program to its end.
async fn succeeds(command: &mut Command) {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it runs");
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned()).concat();
    assert!(output.status.success(), "{said}");
}

async fn check(with_keys: bool) {
    let Some(tools) = install(Toolbox::OpenApi).await else { return };
    let app = AppCopy::of(&["HttpEcho", "HttpStartSingle", "Versioned", "VersionA", "Counter"]);
    let builder = Host::builder().app(app.path());
    let host = if with_keys { builder.with_keys() } else { builder }.start().await;
    let key = if with_keys { host.key("master _master") } else { String::new() };
    assert_eq!(host.get("/openapi.json").await.status, if with_keys { 401 } else { 200 });
    let reply = host.send("GET", "/openapi.json", &[("x-functions-key", &key)], "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let folder = tempfile::tempdir().expect("a temp folder");
    let file = folder.path().join("openapi.json");
    std::fs::write(&file, &reply.body).expect("the temp folder is writable");
    succeeds(Command::new(tools.join("bin/openapi-spec-validator")).arg(&file)).await;

    let mut run = Command::new(tools.join("bin/schemathesis"));
    run.current_dir(folder.path()).arg("run").arg(&file).arg("--url").arg(format!("http://{}", host.address()));
    // The older path of the management API is served by the same code.
    run.args(["--exclude-deprecated", "--exclude-checks", MEANT, "--phases", "examples,coverage,fuzzing"]);
    run.args(["--max-examples", "5", "--seed", "1", "--request-timeout", "60", "--warnings", "off", "--no-color"]);
    if with_keys {
        run.arg("-H").arg(format!("x-functions-key: {key}"));
    }
    succeeds(&mut run).await;
    assert_eq!(host.get("/runtime/health/ready").await.status, 200);
}

#[tokio::test]
async fn the_host_is_as_its_openapi_document_says() {
    check(false).await;
}

#[tokio::test]
async fn the_host_with_keys_is_as_its_openapi_document_says() {
    check(true).await;
}
