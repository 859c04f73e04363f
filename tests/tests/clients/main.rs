//! Azure's own clients, as they are published, drive a host: what nobody here wrote cannot tell the difference. And a tool
//! that reads the host's own description asks for everything in it.
//!
//! They are installed from PyPI and npm, at pinned versions, into the target folder. Where Python, Node or a registry is
//! missing the tests are skipped and say so; with `SOLOIST_TEST_CLIENTS=required` they fail instead.

mod install;
mod openapi;

use std::{path::PathBuf, process::Stdio, time::Duration};

use install::{Toolbox, install};
use soloist_tests::Host;
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

/// Whom the host lets in.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    /// It asks nobody for a key.
    Open,
    /// It asks for keys: the starter JSON is got with the system key, and what is in it opens the rest.
    Keys,
}

impl Door {
    async fn host(self) -> Host {
        match self {
            Self::Open => Host::start_default().await,
            Self::Keys => Host::builder().with_keys().start().await,
        }
    }
}

/// The starter JSON, as a client outside of the host gets it.
async fn starter(host: &Host, door: Door, mode: Mode) -> String {
    let target = match mode {
        Mode::Rpc => "/admin/host/durableClient",
        Mode::Webhook => "/admin/host/durableClient?rpc=false",
    };
    let reply = match door {
        Door::Open => host.get(target).await,
        Door::Keys => {
            assert_eq!(host.get(target).await.status, 401, "without a key");
            let key = host.key("system durabletask_extension");
            host.send("GET", target, &[("x-functions-key", &key)], "").await
        }
    };
    assert_eq!(reply.status, 200, "{reply:?}");
    let text = reply.text().to_owned();
    assert_eq!(text.contains("code="), door == Door::Keys, "{text}");
    text
}

/// Runs a client's script with the starter JSON as its standard input; it checks for itself.
async fn drive(host: &Host, door: Door, mode: Mode, mut script: Command) {
    script.env("WEBSITE_HOSTNAME", host.address());
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = script.spawn().expect("the client is started");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(starter(host, door, mode).await.as_bytes()).await.expect("the client reads its input");
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

async fn javascript(generation: u32, mode: Mode, door: Door) {
    let Some(folder) = install(Toolbox::JavaScript).await else { return };
    let host = door.host().await;
    let mut script = Command::new("node");
    script.arg(source("javascript/client.js")).arg(generation.to_string()).current_dir(folder);
    drive(&host, door, mode, script).await;
}

async fn python(door: Door) {
    let Some(folder) = install(Toolbox::Python).await else { return };
    let host = door.host().await;
    let mut script = Command::new(folder.join("bin/python"));
    script.arg(source("python/client.py")).current_dir(folder);
    drive(&host, door, Mode::Rpc, script).await;
}

#[tokio::test]
async fn python_1_7_by_rpc() {
    python(Door::Open).await;
}

#[tokio::test]
async fn python_1_7_by_rpc_with_keys() {
    python(Door::Keys).await;
}

#[tokio::test]
async fn javascript_1_5_by_rpc() {
    javascript(1, Mode::Rpc, Door::Open).await;
}

#[tokio::test]
async fn javascript_1_5_by_rpc_with_keys() {
    javascript(1, Mode::Rpc, Door::Keys).await;
}

#[tokio::test]
async fn javascript_1_5_by_webhook() {
    javascript(1, Mode::Webhook, Door::Open).await;
}

#[tokio::test]
async fn javascript_1_5_by_webhook_with_keys() {
    javascript(1, Mode::Webhook, Door::Keys).await;
}

#[tokio::test]
async fn javascript_2_1_by_rpc() {
    javascript(2, Mode::Rpc, Door::Open).await;
}

#[tokio::test]
async fn javascript_2_1_by_rpc_with_keys() {
    javascript(2, Mode::Rpc, Door::Keys).await;
}

#[tokio::test]
async fn javascript_2_1_by_webhook() {
    javascript(2, Mode::Webhook, Door::Open).await;
}

#[tokio::test]
async fn javascript_2_1_by_webhook_with_keys() {
    javascript(2, Mode::Webhook, Door::Keys).await;
}

#[tokio::test]
async fn javascript_3_5_by_rpc() {
    javascript(3, Mode::Rpc, Door::Open).await;
}

#[tokio::test]
async fn javascript_3_5_by_rpc_with_keys() {
    javascript(3, Mode::Rpc, Door::Keys).await;
}

#[tokio::test]
async fn javascript_3_5_by_webhook() {
    javascript(3, Mode::Webhook, Door::Open).await;
}

#[tokio::test]
async fn javascript_3_5_by_webhook_with_keys() {
    javascript(3, Mode::Webhook, Door::Keys).await;
}
