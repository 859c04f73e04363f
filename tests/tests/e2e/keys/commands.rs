//! `soloist keys`, beside a host that runs and without one.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use soloist_tests::artifacts;

use super::*;

fn keys(data: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(artifacts::soloist());
    command.arg("keys").args(arguments).arg("--data").arg(data).stdin(Stdio::null()).output().unwrap()
}

fn made(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "the value alone: {text}");
    text.trim().to_owned()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_running_host_takes_note_at_once() {
    let app = app(&["Noop"]);
    let mut host = host(&app).await;
    let data = host.data();
    let mode = |name: &str| fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys.json"), mode("")), (0o600, 0o700));
    let opens = async |host: &Host, key: &str| with_key(host, "GET", "/api/function/x", key, "").await.status;
    let first = made(&keys(&data, &["create", "mine"]));
    assert_eq!(opens(&host, &first).await, 200);
    let second = made(&keys(&data, &["rotate", "MINE"]));
    assert_eq!((opens(&host, &first).await, opens(&host, &second).await), (401, 200));
    let listed = String::from_utf8(keys(&data, &["list"]).stdout).unwrap();
    assert!(listed.contains("host mine\n") && listed.contains("master _master\n"), "{listed}");
    assert!(!listed.contains(&second));
    let own = made(&keys(&data, &["create", "mine", "--function", "Echo_function"]));
    assert_eq!(opens(&host, &own).await, 200);
    assert!(keys(&data, &["revoke", "mine"]).status.success());
    assert_eq!((opens(&host, &second).await, opens(&host, &own).await), (401, 200));

    let links = start(&host, "Noop", "a", "").await;
    let status = link(&links, "statusQueryGetUri");
    assert_ne!(host.get(&status).await.status, 401);
    assert!(keys(&data, &["rotate", "--links"]).status.success());
    assert_eq!(host.get(&status).await.status, 401);

    let master = host.key(MASTER);
    host.stop().await;
    let new_master = made(&keys(&data, &["rotate", "_master"]));
    host.restart().await;
    let status = async |key: &str| with_key(&host, "GET", "/admin/host/status", key, "").await.status;
    assert_eq!((status(&master).await, status(&new_master).await, status(&own).await), (401, 200, 401));
}

#[test]
fn what_cannot_be_done_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert!(error(&keys(&data, &["list"])).contains("there are no keys in "));
    assert!(!data.exists());
    made(&keys(&data, &["create", "a"]));
    assert!(data.join(".gitignore").exists());
    assert!(error(&keys(&data, &["create", "A"])).contains("rotate it"));
    assert!(error(&keys(&data, &["rotate", "b"])).contains("no such key"));
    assert!(error(&keys(&data, &["revoke", "b"])).contains("no such key"));
    assert!(error(&keys(&data, &["revoke", "_master"])).contains("rotate"));
    assert!(error(&keys(&data, &["create", "a b"])).contains("no name of a key"));
    assert_eq!(keys(&data, &["rotate"]).status.code(), Some(2));
}

#[tokio::test]
async fn damaged_keys_keep_a_host_from_starting() {
    let app = app(&["Noop"]);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keys.json"), "{").unwrap();
    let output = Host::builder().app(app.path()).data(folder.path()).with_keys().refused().await;
    let text = error(&output);
    assert!(text.contains("keys.json") && text.contains("damaged"), "{text}");
    assert_eq!(fs::read_to_string(folder.path().join("keys.json")).unwrap(), "{");
}
