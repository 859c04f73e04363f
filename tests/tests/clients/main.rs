//! Azure's own clients, as they are published, drive a host: what nobody here wrote cannot tell the difference. And a tool
//! that reads the host's own description asks for everything in it.
//!
//! They are installed from PyPI and npm, at pinned versions, into the target folder. Where Python, Node or a registry is
//! missing the tests are skipped and say so; with `SOLOIST_TEST_CLIENTS=required` they fail instead.

mod install;
mod openapi;

use std::{path::PathBuf, process::Stdio, time::Duration};

use install::{Toolbox, install};
use soloist_tests::{Host, HostBuilder};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// How long one client may take over all of its methods.
const PATIENCE: Duration = Duration::from_secs(600);

/// How a client reaches the host.
#[derive(Clone, Copy)]
enum Mode {
    /// By the secret base URL.
    Rpc,
    /// By the URL templates.
    Webhook,
}

/// The starter JSON, as a client outside of the host gets it.
async fn starter(host: &Host, mode: Mode) -> String {
    let query = match mode {
        Mode::Rpc => "",
        Mode::Webhook => "?rpc=false",
    };
    let reply = host.get(&format!("/admin/host/durableClient{query}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.text().to_owned()
}

/// Runs a client's script with the starter JSON as its standard input; it checks for itself.
async fn drive(host: &Host, mode: Mode, mut script: Command) {
    script.env("WEBSITE_HOSTNAME", host.address());
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = script.spawn().expect("the client is started");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(starter(host, mode).await.as_bytes()).await.expect("the client reads its input");
    drop(input);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output.expect("the client ends in time").expect("its output is read");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    println!("{out}");
}

fn source(file: &str) -> PathBuf {
    soloist_tests::artifacts::repository().join("tests/clients").join(file)
}

async fn javascript(host: HostBuilder, generation: u32, mode: Mode) {
    let Some(folder) = install(Toolbox::JavaScript).await else { return };
    let host = host.start().await;
    let mut script = Command::new("node");
    script.arg(source("javascript/client.js")).arg(generation.to_string()).current_dir(folder);
    drive(&host, mode, script).await;
}

#[tokio::test]
async fn python_1_7_by_rpc() {
    let Some(folder) = install(Toolbox::Python).await else { return };
    let host = Host::start_default().await;
    let mut script = Command::new(folder.join("bin/python"));
    script.arg(source("python/client.py")).current_dir(folder);
    drive(&host, Mode::Rpc, script).await;
}

#[tokio::test]
async fn javascript_1_5_by_rpc() {
    javascript(Host::builder(), 1, Mode::Rpc).await;
}

#[tokio::test]
async fn javascript_1_5_by_webhook() {
    javascript(Host::builder(), 1, Mode::Webhook).await;
}

#[tokio::test]
async fn javascript_2_1_by_rpc() {
    javascript(Host::builder(), 2, Mode::Rpc).await;
}

#[tokio::test]
async fn javascript_2_1_by_webhook() {
    javascript(Host::builder(), 2, Mode::Webhook).await;
}

#[tokio::test]
async fn javascript_3_5_by_rpc() {
    javascript(Host::builder(), 3, Mode::Rpc).await;
}

#[tokio::test]
async fn javascript_3_5_by_webhook() {
    javascript(Host::builder(), 3, Mode::Webhook).await;
}
