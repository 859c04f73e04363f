//! What functions may send to others, and what becomes of it.

use std::sync::{Arc, Mutex};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use soloist_tests::{Answer, Host, Server, eventually, folder::AppCopy, server::serve};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_rustls::TlsAcceptor;

const FUNCTIONS: [&str; 7] =
    ["HttpStartSingle", "Fetch", "FetchUrl", "FetchItself", "FetchRedirected", "FetchFollowing", "Noop"];

/// A host whose functions may send to these destinations beside public ones. Its app lives as long as the first value.
async fn host_that_allows(rules: &[&str]) -> (AppCopy, Host) {
    let app = AppCopy::of(&FUNCTIONS);
    let settings = json!({
        "version": "2.0",
        "extensions": { "soloist": { "outboundAllow": rules, "guestMemoryBytes": 64 << 20, "guestCpuMilliseconds": 200_000 } },
    });
    app.write("host.json", settings.to_string());
    let host = Host::builder().app(app.path()).start().await;
    (app, host)
}

/// Starts an orchestration that sends a request, and waits for its failure; returns its text.
async fn failure(host: &Host, function: &str, id: &str, input: Value) -> String {
    host.start(function, id, &input.to_string()).await;
    host.wait_for_status(id, "Failed").await["output"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_private_destination_is_reached_only_if_it_is_allowed() {
    let (server, other) = (Server::start(Answer::ok("hello")).await, Server::start(Answer::ok("other")).await);
    let (_app, host) = host_that_allows(&[&server.address()]).await;
    host.start("Fetch", "allowed", &json!({"url": format!("{}x?y=1", server.url()), "body": "b"}).to_string()).await;
    assert_eq!(host.output("allowed").await, json!({"status": 200, "body": "hello"}));
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("POST /x?y=1 HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[0].contains("idempotency-key: ") && requests[0].contains(&server.address()), "{requests:?}");
    // The rule names an address: a name that leads there is not meant.
    let by_name = format!("http://localhost:{}/", server.port());
    let port = other.port();
    for (number, url) in [
        other.url(),
        by_name.replace(&server.port().to_string(), &port.to_string()),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://10.0.0.1/".to_owned(),
        "http://[fe80::1]/".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let text = failure(&host, "Fetch", &format!("refused-{number}"), json!({ "url": url })).await;
        assert!(text.contains("DestinationIpProhibited") && text.contains("outboundAllow"), "{url}: {text}");
    }
    assert_eq!(other.requests(), [] as [&str; 0]);
    let log = host.log();
    assert!(log.contains("an outgoing request was refused") && log.contains("169.254.169.254:80"), "{log}");
}

#[tokio::test]
async fn nothing_private_is_reached_by_default_not_even_by_a_name() {
    let server = Server::start(Answer::ok("hello")).await;
    let host = Host::start_default().await;
    for (id, url) in [("address", server.url()), ("name", format!("http://localhost:{}/", server.port()))] {
        let text = failure(&host, "Fetch", id, json!({ "url": url })).await;
        assert!(text.contains("DestinationIpProhibited"), "{text}");
    }
    for (id, url) in [("none", "no url"), ("other", "ftp://127.0.0.1/"), ("user", "http://a:b@127.0.0.1/")] {
        let text = failure(&host, "Fetch", id, json!({ "url": url })).await;
        assert!(text.starts_with("Orchestrator function 'Fetch' failed: "), "{text}");
    }
    assert_eq!(server.requests(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_redirect_is_judged_like_any_destination() {
    let hidden = Server::start(Answer::ok("secret")).await;
    let target = Server::start(Answer::ok("target")).await;
    let to_target = Server::start(Answer::redirect(&target.url())).await;
    let to_hidden = Server::start(Answer::redirect(&hidden.url())).await;
    let to_name = Server::start(Answer::redirect(&format!("http://localhost:{}/", hidden.port()))).await;
    let allowed = [&target, &to_target, &to_hidden, &to_name].map(Server::address);
    let (_app, host) = host_that_allows(&allowed.each_ref().map(String::as_str)).await;
    // The host returns a redirect; it is the code that follows it.
    host.start("Fetch", "returned", &json!({ "url": to_hidden.url() }).to_string()).await;
    assert_eq!(host.output("returned").await["status"], 302);
    host.start("FetchRedirected", "target", &json!(to_target.url()).to_string()).await;
    assert_eq!(host.output("target").await["body"], "target");
    for (id, server) in [("hidden", &to_hidden), ("name", &to_name)] {
        let text = failure(&host, "FetchRedirected", id, json!(server.url())).await;
        assert!(text.contains("DestinationIpProhibited"), "{text}");
    }
    assert_eq!(hidden.requests(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for_is_refused_by_name() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let noted = heads.clone();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, &Answer::ok("hello"), &noted).await;
            }
        }
    });
    let (_app, host) = host_that_allows(&["localhost", "127.0.0.0/8"]).await;
    let text = failure(&host, "Fetch", "tls", json!({ "url": format!("https://localhost:{port}/") })).await;
    assert!(text.contains("certificate is not trusted (TlsCertificateError)"), "{text}");
    // A server that speaks no TLS at all.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap());
    let greeter = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
        stream
    });
    let text = failure(&host, "Fetch", "plain", json!({ "url": url })).await;
    assert!(text.contains("Tls"), "{text}");
    drop(greeter.await);
    server.abort();
    assert!(heads.lock().unwrap().is_empty(), "nothing was sent to it");
}

#[tokio::test]
async fn a_server_that_does_not_answer_or_never_ends_is_given_up() {
    let (silent, endless) = (Server::start(Answer::Silence).await, Server::start(Answer::Endless).await);
    let torn = Server::start(Answer::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".into())).await;
    let noise = Server::start(Answer::Bytes("this is no HTTP\r\n\r\n".into())).await;
    let (_app, host) = host_that_allows(&["127.0.0.1"]).await;
    let text = failure(&host, "Fetch", "silent", json!({"url": silent.url(), "timeout_ms": 300})).await;
    assert!(text.contains("no answer in time"), "{text}");
    // What a guest holds is bounded by its memory.
    let text = failure(&host, "Fetch", "endless", json!({"url": endless.url()})).await;
    assert!(text.contains("extensions.soloist.guestMemoryBytes"), "{text}");
    let text = failure(&host, "Fetch", "torn", json!({"url": torn.url()})).await;
    assert!(text.contains("reading a body"), "{text}");
    failure(&host, "Fetch", "noise", json!({"url": noise.url()})).await;
    let dead = soloist_tests::host::DeadPort::take();
    let text = failure(&host, "Fetch", "closed", json!({"url": format!("{}/", dead.url())})).await;
    assert!(text.contains("nobody listens there"), "{text}");
    host.start("Noop", "healthy", "").await;
    host.output("healthy").await;
}

#[tokio::test]
async fn an_orchestrator_cannot_send_requests() {
    let server = Server::start(Answer::ok("hello")).await;
    let (_app, host) = host_that_allows(&["*"]).await;
    let text = failure(&host, "FetchItself", "f", json!({ "url": server.url() })).await;
    assert!(text.contains("wasi:http") || text.contains("orchestrator"), "{text}");
    assert_eq!(server.requests(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_request_that_kill_9_cut_off_is_sent_again_with_its_key() {
    let server = Server::start(Answer::Silence).await;
    let (_app, mut host) = host_that_allows(&["127.0.0.1"]).await;
    host.start("Fetch", "f", &json!({ "url": server.url() }).to_string()).await;
    eventually("it is sent", || async { (server.requests().len() == 1).then_some(()) }).await;
    host.kill9();
    host.restart().await;
    eventually("it is sent again", || async { (server.requests().len() == 2).then_some(()) }).await;
    let key = |head: &str| head.lines().find_map(|line| line.strip_prefix("idempotency-key: ").map(str::to_owned));
    let keys: Vec<_> = server.requests().iter().map(|head| key(head)).collect();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}
