//! The face that a host shows to a network: TLS, HTTP/2, pages of other sites, what a function in error answers.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Bytes,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use soloist_tests::{Host, HostBuilder, eventually, folder::AppCopy};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate for `localhost` and its key, in files.
struct Certified {
    folder: tempfile::TempDir,
}

impl Certified {
    fn new() -> Self {
        let certified = Self { folder: tempfile::tempdir().unwrap() };
        certified.renew();
        certified
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(self.path("host.key"), made.signing_key.serialize_pem()).unwrap();
        fs::write(self.path("host.crt"), made.cert.pem()).unwrap();
    }

    fn on(&self, builder: HostBuilder) -> HostBuilder {
        let argument = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let builder = builder.argument("--tls-cert").argument(&argument("host.crt"));
        builder.argument("--tls-key").argument(&argument("host.key"))
    }

    async fn connect(&self, host: &Host, protocol: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("host.crt")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(host.address()).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

fn request(method: &str, target: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(target).header("host", "localhost").body(Full::new(body.into())).unwrap()
}

async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_host_with_a_certificate_speaks_tls_and_both_protocols() {
    let certified = Certified::new();
    let builder = certified.on(Host::builder()).set("extensions.http.hsts.isEnabled", "true");
    let host = builder.set("extensions.http.hsts.excludedHosts", "none.test").start().await;
    assert!(host.printed().contains(" on https://127.0.0.1:"), "{}", host.printed());

    let (mut client, connection) =
        http1::handshake(TokioIo::new(certified.connect(&host, "http/1.1").await.unwrap())).await.unwrap();
    tokio::spawn(connection);
    let started = client.send_request(request("POST", "/api/orchestrators/E1_HelloSequence/tls", "")).await.unwrap();
    assert_eq!(started.headers()["strict-transport-security"], "max-age=2592000");
    assert_eq!(started.status(), 202);
    let location = started.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("https://localhost/runtime/"), "{location}");
    assert!(text(started).await.contains(r#""statusQueryGetUri":"https://localhost/runtime/"#));

    let (client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(certified.connect(&host, "h2").await.unwrap()))
            .await
            .unwrap();
    tokio::spawn(connection);
    eventually("the instance completes", || {
        let (mut client, location) = (client.clone(), location.clone());
        async move {
            let status = client.send_request(request("GET", &location, "")).await.unwrap();
            assert_eq!(status.version(), Version::HTTP_2);
            text(status).await.contains("Completed").then_some(())
        }
    })
    .await;
    // The same connection carries many requests, and streams.
    let mut streamed = client.clone();
    let lines = streamed.send_request(request("GET", "https://localhost/api/stream/lines?3", "")).await.unwrap();
    assert_eq!(text(lines).await, "line 0\nline 1\nline 2\n");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let certified = Certified::new();
    let mut host = certified.on(Host::builder()).start().await;
    certified.connect(&host, "h2").await.unwrap();
    // On a signal at once …
    certified.renew();
    host.signal(libc::SIGHUP);
    eventually("the new one is shown", || async { certified.connect(&host, "h2").await.ok() }).await;
    // … and by itself; a pair that cannot be used is not shown, and named.
    fs::write(certified.path("host.key"), "half a ke").unwrap();
    eventually("the bad key is named", || async { host.log().contains("host.key holds no private key").then_some(()) })
        .await;
    certified.connect(&host, "http/1.1").await.unwrap();
    certified.renew();
    eventually("the new one is shown", || async { certified.connect(&host, "h2").await.ok() }).await;
    host.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_with_the_remedy() {
    let certified = Certified::new();
    let refusal = |output: std::process::Output| {
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    fs::rename(certified.path("host.key"), certified.path("kept.key")).unwrap();
    let said = refusal(certified.on(Host::builder()).refused().await);
    assert!(said.contains("error: cannot read the TLS key ") && said.contains("host.key"), "{said}");
    let other = Certified::new();
    fs::copy(other.path("host.key"), certified.path("host.key")).unwrap();
    let said = refusal(certified.on(Host::builder()).refused().await);
    assert!(said.contains("host.key does not belong to the certificate"), "{said}");
    // From host.json, below the app's folder.
    let app = AppCopy::of(&["HttpEcho"]);
    let tls = r#"{"version":"2.0","extensions":{"soloist":{"tls":{"certificateFile":"tls/host.crt","keyFile":"tls/host.key"}}}}"#;
    app.write("host.json", tls);
    let said = refusal(Host::builder().app(app.path()).refused().await);
    assert!(said.contains("cannot read the TLS certificate ") && said.contains("tls/host.crt"), "{said}");
    for name in ["host.crt", "host.key"] {
        app.write(&format!("tls/{name}"), fs::read(other.path(name)).unwrap());
    }
    let host = Host::builder().app(app.path()).start().await;
    other.connect(&host, "h2").await.unwrap();
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_to_whoever_begins_so() {
    let host = Host::start_default().await;
    let stream = TcpStream::connect(host.address()).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let base = format!("http://{}", host.address());
    let calls = (0..100).map(|index| {
        let (mut client, target) = (client.clone(), format!("{base}/api/echo/{index}?q={index}&q=x"));
        async move {
            let response =
                client.send_request(Request::get(target).body(Full::<Bytes>::default()).unwrap()).await.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
            text(response).await
        }
    });
    for (index, told) in futures::future::join_all(calls).await.into_iter().enumerate() {
        assert!(told.contains(&index.to_string()), "{told}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_call_functions_if_the_settings_say_so() {
    let app = AppCopy::of(&["HttpEcho", "HttpStartSingle"]);
    app.write("local.settings.json", r#"{ "Host": { "CORS": "https://page.test", "CORSCredentials": true } }"#);
    let host = Host::builder().app(app.path()).start().await;
    let from = |origin: &'static str| [("origin", origin), ("sec-fetch-site", "cross-site")];
    let called = host.send("POST", "/api/echo/x", &from("https://page.test"), "").await;
    assert_eq!((called.status, called.header("access-control-allow-origin")), (200, "https://page.test"));
    assert_eq!(called.header("access-control-allow-credentials"), "true");
    let asked = [("origin", "https://page.test"), ("access-control-request-method", "PUT")];
    let preflight = host.send("OPTIONS", "/api/echo/x", &asked, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, "PUT"));
    assert_eq!(host.send("POST", "/api/echo/x", &from("https://evil.test"), "").await.status, 403);
    for path in ["/runtime/webhooks/durabletask/instances", "/admin/functions"] {
        let refused = host.send("GET", path, &from("https://page.test"), "").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, ""), "{path}");
    }
}

#[tokio::test]
async fn a_function_in_error_says_why_to_its_developer_only() {
    let app = AppCopy::of(&["HttpEcho"]);
    let function = |more: &str, route: &str| {
        format!(
            r#"{{ {more} "bindings": [{{ "name": "req", "type": "httpTrigger", "direction": "in", "authLevel": "anonymous", "methods": ["get"], "route": "{route}" }}] }}"#
        )
    };
    app.write("Missing/function.json", function("", "missing/{id:int}"));
    app.write("Broken/function.json", function(r#""scriptFile": "x.wasm","#, "broken"));
    app.write("Broken/x.wasm", "no module");
    app.write("Unnamed/function.json", function(r#""scriptFile": "x.wasm","#, "{a}{b}"));
    let host = Host::builder().app(app.path()).start().await;
    for (path, says) in [
        ("/api/missing/5", "The 'Missing' function is in error: Unable to determine the primary function script."),
        ("/api/broken", "The 'Broken' function is in error: "),
        ("/api/unnamed", "The 'Unnamed' function is in error: "),
    ] {
        let reply = host.get(path).await;
        assert!(reply.status == 503 && reply.text().starts_with(says), "{path}: {reply:?}");
    }
    for (method, path) in [("POST", "/api/broken"), ("GET", "/api/missing/x")] {
        assert_eq!(host.send(method, path, &[], "").await.status, 404, "{path}");
    }
    let public = Host::builder().app(app.path()).with_keys().start().await;
    let reply = public.get("/api/broken").await;
    assert_eq!((reply.status, reply.text()), (404, ""));
}

#[tokio::test]
async fn routes_between_which_only_names_decide_are_reported() {
    let app = AppCopy::of(&["HttpEcho", "HttpStartSingle"]);
    let function = |route: &str| {
        format!(
            r#"{{ "scriptFile": "../soloist_test_app.wasm", "entryPoint": "HttpEcho", "bindings": [{{ "name": "req", "type": "httpTrigger", "direction": "in", "authLevel": "anonymous", "route": "{route}" }}] }}"#
        )
    };
    app.write("First/function.json", function("tie/{a:length(1)}"));
    app.write("Second/function.json", function("tie/{b:alpha}"));
    app.write("Third/function.json", function("tie/{c}"));
    let host = Host::builder().app(app.path()).watching().start().await;
    let told = |text: String| text.lines().filter(|line| line.contains("S0304")).map(str::to_owned).collect::<Vec<_>>();
    for ties in [told(host.printed()), told(host.log())] {
        assert!(ties.len() == 1 && ties[0].contains("'First'") && ties[0].contains("'Second'"), "{ties:?}");
    }
    assert!(host.get("/api/tie/x").await.text().contains("x"));
    // One that comes while the host runs is told as well, the other one not again.
    app.write("Fourth/function.json", function("tie/{d:maxlength(1)}"));
    host.wait_for_log("'Fourth'").await;
    assert_eq!(told(host.log()).len(), 2, "{}", host.log());
    tokio::time::timeout(Duration::from_secs(60), host.get("/api/tie/5")).await.unwrap();
}
