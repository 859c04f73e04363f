//! What somebody without a key tries, who is on the same machine or makes a browser on it send something.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use soloist_tests::instances::MANAGEMENT;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;

/// What reads, starts, changes or ends something, or tells what there is.
const PROTECTED: [(&str, &str); 26] = [
    ("GET", "/runtime/webhooks/durabletask/instances"),
    ("GET", "/runtime/webhooks/durabletask/instances/"),
    ("GET", "/runtime/webhooks/durabletask/instances/here"),
    ("GET", "/runtime/webhooks/durabletask/instances/none"),
    ("GET", "/runtime/webhooks/durabletask/instances/here/nonsense"),
    ("DELETE", "/runtime/webhooks/durabletask/instances/here"),
    ("DELETE", "/runtime/webhooks/durabletask/instances?createdTimeFrom=2000-01-01"),
    ("POST", "/runtime/webhooks/durabletask/instances/here/terminate"),
    ("POST", "/runtime/webhooks/durabletask/instances/none/terminate"),
    ("POST", "/runtime/webhooks/durabletask/instances/here/raiseEvent/Approval"),
    ("POST", "/runtime/webhooks/durabletask/instances/here/restart"),
    ("POST", "/runtime/webhooks/durabletask/orchestrators/Noop"),
    ("POST", "/runtime/webhooks/durabletask/orchestrators/Nowhere/x"),
    ("GET", "/runtime/webhooks/durabletask/entities"),
    ("POST", "/runtime/webhooks/durabletask/entities/Counter/a?op=add"),
    ("POST", "/runtime/webhooks/durabletask/makeprimary"),
    ("GET", "/RUNTIME/WebHooks/DurableTask/Instances/here"),
    ("GET", "/admin/extensions/DurableTaskExtension/instances/here"),
    ("GET", "/admin/host/durableClient"),
    ("GET", "/admin/host/durableclient/?rpc=true"),
    ("GET", "/admin/host/status"),
    ("GET", "/admin/host/keys"),
    ("POST", "/admin/host/keys/mine"),
    ("GET", "/admin/functions"),
    ("GET", "/admin/functions/Nowhere"),
    ("POST", "/admin/functions/Noop"),
];

/// Sends bytes as they are; returns all that comes back.
async fn raw(host: &Host, bytes: &str) -> String {
    let mut stream = TcpStream::connect(host.address()).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(60), stream.read_to_end(&mut answer)).await;
    read.expect("the connection is closed").unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn here() -> (AppCopy, Host) {
    let app = app(&["Noop", "WaitForApproval", "Counter"]);
    let host = host(&app).await;
    start(&host, "WaitForApproval", "here", "").await;
    (app, host)
}

/// Nothing was started, changed or ended, and no key was made.
async fn nothing_happened(host: &Host) {
    let (system, master) = (host.key(SYSTEM), host.key(MASTER));
    let listed = with_key(host, "GET", &format!("{MANAGEMENT}/instances?showInput=false"), &system, "").await.json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(matches!(listed[0]["runtimeStatus"].as_str(), Some("Running" | "Pending")), "{listed:?}");
    let entities = with_key(host, "GET", &format!("{MANAGEMENT}/entities"), &system, "").await;
    assert_eq!(entities.text(), "[]");
    let keys = with_key(host, "GET", "/admin/host/keys", &master, "").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "{keys}");
}

#[tokio::test]
async fn without_a_key_every_answer_is_the_same() {
    let (_app, host) = here().await;
    let (system, function) = (host.key(SYSTEM), host.key(DEFAULT));
    let wrong = "0".repeat(64);
    let halves = format!("{}{}", &system[..system.len() / 2], &wrong[system.len() / 2..]);
    let mut answers = std::collections::BTreeSet::new();
    for (method, target) in PROTECTED {
        let with = |code: &str| format!("{target}{}code={code}", if target.contains('?') { '&' } else { '?' });
        let targets = [target.to_owned(), with(&wrong), with(&halves), with(""), with("%00"), with("s1-00")];
        for target in &targets {
            for headers in [
                &[][..],
                &[("x-functions-key", "")],
                &[("x-functions-key", &*function)],
                &[("authorization", &*format!("Bearer {system}"))],
                &[("cookie", &*format!("code={system}; x-functions-key={system}"))],
                &[("x-ms-functions-key", &*system)],
                &[("x-http-method-override", "GET"), ("x-original-url", "/"), ("x-rewrite-url", "/")],
                &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-host", "localhost"), ("forwarded", "for=127.0.0.1")],
                &[("origin", "http://localhost:3000"), ("sec-fetch-site", "same-origin")],
            ] {
                let reply = host.send(method, target, headers, "").await;
                let names: Vec<_> = reply.headers.keys().map(|name| name.as_str().to_owned()).collect();
                answers.insert((reply.status, reply.text().to_owned(), names));
            }
        }
    }
    assert_eq!(answers.len(), 1, "nobody learns what there is: {answers:?}");
    assert_eq!(answers.first().map(|(status, text, _)| (*status, text.as_str())), Some((401, "")));
    nothing_happened(&host).await;
}

#[tokio::test]
async fn no_way_to_write_a_request_goes_around_the_key() {
    let (_app, host) = here().await;
    let local = host.address();
    let target = format!("{MANAGEMENT}/instances/here/terminate");
    let key = host.key(SYSTEM);
    for (request, wanted) in [
        // Versions, forms of the target, hosts.
        (format!("POST {target} HTTP/1.0\r\n\r\n"), "401"),
        (format!("POST {target} HTTP/1.0\r\nhost: evil.example\r\n\r\n"), "421"),
        (format!("POST {target} HTTP/1.1\r\nconnection: close\r\n\r\n"), "400"),
        (format!("POST {target} HTTP/1.1\r\nhost: {local}\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "400"),
        (format!("POST http://{local}{target} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "401"),
        (format!("POST http://{local}{target} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"), "421"),
        (format!("POST http://evil.example{target} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "421"),
        (format!("POST http://x:{key}@{local}{target} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "421"),
        (format!("CONNECT {local} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "404"),
        (format!("OPTIONS * HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "404"),
        // The path in other ways: what is not the path is nothing, what is asks for a key.
        (format!("POST /{target} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "404"),
        (format!("POST /api/..{target} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "404"),
        (format!("POST /api/%2e%2e{target} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"), "404"),
        (
            format!(
                "POST {} HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n",
                target.replace("runtime", "%72untime")
            ),
            "404",
        ),
        (
            format!(
                "POST {}/../here/terminate HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n",
                target.replace("/here/terminate", "/x")
            ),
            "401",
        ),
        (
            format!(
                "POST /runtime/rpc//durabletask/instances/here/terminate HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"
            ),
            "404",
        ),
        (
            format!(
                "POST /runtime/rpc/{key}/durabletask/instances/here/terminate HTTP/1.1\r\nhost: {local}\r\nconnection: close\r\n\r\n"
            ),
            "404",
        ),
        // A second request within the first one's body is none.
        (
            format!(
                "POST /admin/host/ping HTTP/1.1\r\nhost: {local}\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\nPOST {target} HTTP/1.1\r\nhost: {local}\r\n\r\n"
            ),
            "",
        ),
    ] {
        let answer = raw(&host, &request).await;
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.contains(wanted) && !first.contains(" 202"), "{request}\n{answer}");
        assert!(!answer.contains(" 202 "), "{request}\n{answer}");
    }
    nothing_happened(&host).await;
}

#[tokio::test]
async fn a_web_page_may_send_but_neither_do_nor_read_anything() {
    for keys in [true, false] {
        let app = app(&["Noop", "WaitForApproval", "Counter"]);
        let builder = Host::builder().app(app.path());
        let host = if keys { builder.with_keys().start().await } else { builder.start().await };
        let targets = ["/api/anonymous/x", "/api/start/Noop/a", "/admin/host/durableClient", "/admin/functions/Noop"];
        for target in targets.into_iter().chain(PROTECTED.map(|(_, target)| target)) {
            for origin in ["http://evil.example", "null"] {
                // What browsers ask first gives no leave, and what they send without asking is refused.
                let asks = [("origin", origin), ("access-control-request-method", "POST")];
                let asks = [&asks[..], &[("access-control-request-headers", "x-functions-key,content-type")]].concat();
                let reply = host.send("OPTIONS", target, &asks, "").await;
                let granted = reply.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
                assert!(!granted && (keys || reply.status == 403), "{target}: {reply:?}");
                let form = [("origin", origin), ("content-type", "text/plain")];
                let reply = host.send("POST", target, &form, "{}").await;
                assert_eq!(reply.status, 403, "{target}: {reply:?}");
            }
            // A name that the page's owner makes mean this machine.
            for name in ["rebound.evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7071"] {
                let reply = host.send("GET", target, &[("host", name)], "").await;
                assert_eq!(reply.status, 421, "{target}: {reply:?}");
            }
        }
        let read = host.send("GET", "/admin/host/durableClient", &[("origin", "http://evil.example")], "").await;
        assert_eq!(read.status, if keys { 401 } else { 403 }, "{read:?}");
        let listed = match keys {
            true => with_key(&host, "GET", &format!("{MANAGEMENT}/instances"), &host.key(SYSTEM), "").await,
            false => host.get(&format!("{MANAGEMENT}/instances")).await,
        };
        assert_eq!(listed.text(), "[]", "nothing was started");
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_is_kept_is_its_owners_alone_whoever_made_the_folder() {
    let app = app(&["Noop"]);
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let mut host = Host::builder().app(app.path()).data(&data).with_keys().start().await;
    start(&host, "Noop", "a", "").await;
    assert!(host.log().contains("other users can write to the data folder"), "{}", host.log());
    let kept = |data: &Path| {
        let files = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
        // The process id, and what tells repositories to leave all of it out, are nobody's secret.
        let open = |path: &Path| path.ends_with("lock") || path.ends_with(".gitignore") || path.ends_with("keys.lock");
        let readable: Vec<_> = files.filter(|path| !open(path) && mode(path) & 0o077 != 0).collect();
        readable
    };
    assert_eq!(kept(&data), [] as [std::path::PathBuf; 0]);
    host.stop().await;
    // Whatever has opened them since is undone at the next start.
    for name in fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        fs::set_permissions(name, fs::Permissions::from_mode(0o666)).unwrap();
    }
    host.restart().await;
    assert_eq!(kept(&data), [] as [std::path::PathBuf; 0]);
}

#[tokio::test]
async fn a_link_in_the_place_of_a_file_is_not_followed() {
    let app = app(&["Noop"]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("precious"), "precious").unwrap();
    fs::create_dir(path("data")).unwrap();
    // Where the ready file is prepared, and where the new keys are.
    std::os::unix::fs::symlink(path("precious"), path("url.tmp")).unwrap();
    std::os::unix::fs::symlink(path("precious"), path("data/keys.tmp")).unwrap();
    let ready = path("url");
    let host = Host::builder().app(app.path()).data(&path("data")).with_keys();
    let host = host.ready_file(&ready).start().await;
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), "precious");
    assert!(fs::symlink_metadata(&ready).unwrap().is_file() && mode(&path("data/keys.json")) == 0o600);
    drop(host);
    // A database that is a link to somebody else's file is not opened.
    fs::create_dir(path("other")).unwrap();
    std::os::unix::fs::symlink(path("precious"), path("other/hub.db")).unwrap();
    let output = Host::builder().app(app.path()).data(&path("other")).with_keys().refused().await;
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no plain file"), "{output:?}");
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), "precious");
}
