//! HTTP/2 and TLS, with hyper's client, and with frames made by hand for what a client would not send.

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_rustls::TlsConnector;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `:method: GET`, `:scheme: http`, `:path: /`, `:authority: a`.
const GET_ROOT: &[u8] = &[0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
/// The same with `:path: /api/gate`.
const GET_GATE: &[u8] = b"\x82\x86\x04\x09/api/gate\x41\x01a";
/// The same with `:path: /api/stream-greedy`.
const GET_GREEDY: &[u8] = b"\x82\x86\x04\x12/api/stream-greedy\x41\x01a";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

impl Host {
    fn frames(&self, frames: &[Vec<u8>]) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(PREFACE).unwrap();
        stream.write_all(&frame(4, 0, 0, &[])).unwrap();
        for frame in frames {
            // A server that has had enough resets the connection.
            if stream.write_all(frame).is_err() {
                break;
            }
        }
        stream
    }

    async fn http2(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = tokio::net::TcpStream::connect(self.serving.local_addr()).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn request(method: &str, target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(target).body(Full::new(body.into())).unwrap()
}

async fn text(response: http::Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Reads frames until the server closes: their kinds, in order, and the error code of a GOAWAY or RST_STREAM.
fn kinds(stream: &mut TcpStream) -> Vec<(u8, Option<u32>)> {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let (mut rest, mut kinds) = (&all[..], Vec::new());
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let code = |at: usize| rest.get(at..at + 4).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
        kinds.push((
            rest[3],
            match rest[3] {
                3 => code(9),
                7 => code(13),
                _ => None,
            },
        ));
        rest = rest.get(9 + length..).unwrap_or_default();
    }
    kinds
}

#[test]
fn http_2_with_prior_knowledge_serves_what_http_1_does() {
    let host = host(ServerOptions::default());
    host.runtime.block_on(async {
        let mut client = host.http2().await;
        let target = "http://example.org:81/api/echo?a=1&a=2";
        let mut asked = request("POST", target, vec![0xff; 100_000]);
        asked.headers_mut().append("cookie", "a=1".parse().unwrap());
        asked.headers_mut().append("cookie", "b=2".parse().unwrap());
        let response = client.send_request(asked).await.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_2, 200));
        let told = text(response).await;
        assert!(
            told.starts_with(
                r#"POST http://example.org:81/api/echo?a=1&a=2 params=[("p", "v")] query=[("a", "1"), ("a", "2")]"#
            ),
            "{told}"
        );
        assert!(told.contains(r#"("cookie", "a=1; b=2")"#) && told.contains(r#"("host", "example.org:81")"#), "{told}");
        assert!(told.ends_with("body=100000"), "{told}");
        let head = client.send_request(request("HEAD", "http://a/", "")).await.unwrap();
        assert_eq!(head.headers()["content-length"], "20");
        assert_eq!(text(head).await, "");
        let mut other = request("GET", "http://a/", "");
        other.headers_mut().insert("host", "b".parse().unwrap());
        assert_eq!(client.send_request(other).await.unwrap().status().as_u16(), 400);
        // Many at once on one connection.
        let many = (0..500).map(|index| {
            let mut client = client.clone();
            async move {
                text(client.send_request(request("GET", &format!("http://a/api/echo?n={index}"), "")).await.unwrap())
                    .await
            }
        });
        for (index, told) in futures::future::join_all(many).await.into_iter().enumerate() {
            assert!(told.contains(&format!(r#"query=[("n", "{index}")]"#)), "{told}");
        }
    });
}

#[test]
fn bodies_of_http_2_have_the_same_limits() {
    let timeouts = Timeouts { body: Duration::from_millis(300), ..Timeouts::default() };
    let host = host(ServerOptions { timeouts, ..small() });
    host.runtime.block_on(async {
        let mut client = host.http2().await;
        for target in ["http://a/api/echo", "http://a/api/stream-reads"] {
            let fits = client.send_request(request("POST", target, vec![b'x'; 1000])).await.unwrap();
            assert_eq!(fits.status().as_u16(), 200);
            let over = client.send_request(request("POST", target, vec![b'x'; 1001])).await.unwrap();
            assert_eq!(over.status().as_u16(), 413, "{target}");
        }
    });
    // A POST whose body does not come, beside a request that is answered.
    let post = [&[0x83, 0x86, 0x04, 0x09][..], b"/api/echo\x41\x01a"].concat();
    let mut stream = host.frames(&[frame(1, 4, 1, &post), frame(1, 5, 3, GET_ROOT)]);
    let mut told = String::new();
    while !told.contains("did not arrive in time") {
        let some = read_some(&mut stream);
        assert!(!some.is_empty(), "closed after {told}");
        told += &some;
    }
}

#[test]
fn peers_of_http_2_that_do_not_go_on_are_given_up() {
    let timeouts = Timeouts {
        head: Duration::from_millis(300),
        idle: Duration::from_millis(1500),
        write: Duration::from_millis(300),
        ..Timeouts::default()
    };
    let host = host(ServerOptions { timeouts, ..ServerOptions::default() });
    let began = Instant::now();
    // Half a header block, half a frame, half a preface, nothing at all, a response that nobody takes.
    let mut half_block = host.frames(&[frame(1, 1, 1, GET_ROOT)]);
    let mut half_frame = host.frames(&[frame(1, 5, 1, GET_ROOT)[..12].to_vec()]);
    let mut half_preface = host.connect();
    half_preface.write_all(&PREFACE[..10]).unwrap();
    let mut idle = host.frames(&[frame(1, 5, 1, GET_ROOT)]);
    let mut untaken = host.frames(&[frame(1, 5, 1, GET_GREEDY)]);
    assert!(kinds(&mut half_block).iter().any(|(kind, _)| *kind == 7), "GOAWAY");
    assert!(kinds(&mut half_frame).iter().any(|(kind, _)| *kind == 7), "GOAWAY");
    assert!(read_all(&mut half_preface).starts_with("HTTP/1.1 408"), "it may as well have been HTTP/1");
    let untaken = kinds(&mut untaken);
    assert!(untaken.iter().filter(|(kind, _)| *kind == 0).count() >= 4 && untaken.iter().any(|(kind, _)| *kind == 7));
    let told = kinds(&mut idle);
    assert!(told.contains(&(1, None)) && told.contains(&(7, Some(0))), "answered, and told to go: {told:?}");
    assert!(began.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn a_large_piece_of_a_stream_may_be_taken_as_slowly_as_many_small_ones() {
    let timeouts = Timeouts { write: Duration::from_secs(2), ..Timeouts::default() };
    let host = host(ServerOptions { timeouts, ..ServerOptions::default() });
    host.runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(host.serving.local_addr()).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let builder = builder.initial_stream_window_size(16 << 10).initial_connection_window_size(64 << 10);
        let (mut client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut response = client.send_request(request("GET", "http://a/api/stream-large", "")).await.unwrap();
        let (began, mut length) = (Instant::now(), 0);
        while let Some(frame) = response.body_mut().frame().await {
            length += frame.expect("nobody cuts it off").into_data().map_or(0, |data| data.len());
            tokio::time::sleep(Duration::from_millis(70)).await;
        }
        assert_eq!(length, (1 << 20) + 3);
        assert!(began.elapsed() > Duration::from_secs(3), "it took longer than a piece may");
    });
}

#[test]
fn a_request_of_http_2_in_work_is_never_idle_and_ends_with_its_client() {
    let timeouts =
        Timeouts { idle: Duration::from_millis(300), head: Duration::from_millis(300), ..Timeouts::default() };
    let host = host(ServerOptions { timeouts, ..ServerOptions::default() });
    let mut stream = host.frames(&[frame(1, 5, 1, GET_GATE)]);
    eventually("the call begins", || host.fake.entered.load(Ordering::SeqCst) == 1);
    std::thread::sleep(Duration::from_millis(900));
    host.fake.gate.add_permits(1);
    assert!(kinds(&mut stream).contains(&(0, None)), "it was answered");
    // RST_STREAM stops one call, the end of the connection all.
    let mut stream = host.frames(&[frame(1, 5, 1, GET_GATE), frame(1, 5, 3, GET_GATE)]);
    eventually("the calls begin", || host.fake.entered.load(Ordering::SeqCst) == 3);
    stream.write_all(&frame(3, 0, 1, &8u32.to_be_bytes())).unwrap();
    eventually("one call is dropped", || host.fake.left.load(Ordering::SeqCst) == 2);
    stream.shutdown(Shutdown::Both).unwrap();
    eventually("the other one, too", || host.fake.left.load(Ordering::SeqCst) == 3);
}

#[test]
fn floods_of_frames_end_their_connection_and_nothing_else() {
    let host = host(ServerOptions::default());
    let resets = (0..20_000).flat_map(|n| {
        let stream = 2 * n + 1;
        [frame(1, 5, stream, GET_ROOT), frame(3, 0, stream, &8u32.to_be_bytes())]
    });
    let continuations =
        std::iter::once(frame(1, 0, 1, GET_ROOT)).chain((0..100_000).map(|_| frame(9, 0, 1, b"\x00\x01x\x01y")));
    let big_block = std::iter::once(frame(1, 0, 1, GET_ROOT))
        .chain((0..100).map(|_| frame(9, 0, 1, &[&b"\x00\x01x\x7f\x81\x7d"[..], &vec![b'y'; 16_000]].concat())));
    let floods: [(&str, Vec<Vec<u8>>); 6] = [
        ("rapid reset", resets.collect()),
        ("continuation", continuations.collect()),
        ("large headers", big_block.collect()),
        ("data for no stream", vec![frame(0, 0, 99, b"x"); 1000]),
        ("a frame too large", vec![frame(4, 0, 0, &[0; 5])]),
        ("a bad header block", vec![frame(1, 5, 1, &[0xff; 100])]),
    ];
    for (name, frames) in floods {
        let mut stream = host.frames(&frames);
        // Ended by the server, with or without a word.
        let told = kinds(&mut stream);
        assert!(!told.contains(&(0, None)) || name == "rapid reset", "{name}: {told:?}");
        assert_eq!(code(&host.ask("GET /")), "200", "{name}");
    }
    // Settings and pings are answered at the peer's own pace: it is the one that pays.
    let mut stream = host.frames(&vec![[frame(4, 0, 0, &[]), frame(6, 0, 0, &[0; 8])].concat(); 500]);
    stream.write_all(&frame(1, 5, 1, GET_ROOT)).unwrap();
    stream.write_all(&frame(7, 0, 0, &[0; 8])).unwrap();
    let told = kinds(&mut stream);
    assert!(told.contains(&(0, None)), "{told:?}");
}

#[test]
fn shutdown_finishes_requests_of_http_2() {
    let host = host(ServerOptions::default());
    let mut stream = host.frames(&[frame(1, 5, 1, GET_GATE)]);
    eventually("the call begins", || host.fake.entered.load(Ordering::SeqCst) == 1);
    let Host { runtime, serving, fake } = host;
    let shutdown = runtime.spawn(serving.shutdown(Duration::from_secs(20)));
    fake.gate.add_permits(1);
    let told = kinds(&mut stream);
    assert!(told.contains(&(0, None)) && told.iter().any(|(kind, _)| *kind == 7), "{told:?}");
    assert_eq!(runtime.block_on(shutdown).unwrap(), 0);
}

struct Certified {
    _folder: tempfile::TempDir,
    files: TlsFiles,
}

impl Certified {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { certificate: folder.path().join("host.crt"), key: folder.path().join("host.key") };
        let certified = Self { _folder: folder, files };
        certified.renew();
        certified
    }

    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&self.files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&self.files.key, made.signing_key.serialize_pem()).unwrap();
    }

    /// A client that trusts the certificate as it is now.
    fn connector(&self, protocol: &str) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.files.certificate).unwrap()).unwrap();
        let mut config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![protocol.into()];
        TlsConnector::from(Arc::new(config))
    }
}

async fn tls_connect(
    host: &Host,
    connector: TlsConnector,
) -> io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(host.serving.local_addr()).await?;
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

#[test]
fn tls_serves_both_protocols_and_tells_browsers_to_stay() {
    let certified = Certified::new();
    let tls = Tls::load(certified.files.clone()).unwrap();
    let hsts = crate::app::Hsts {
        max_age: Duration::from_secs(60),
        include_sub_domains: false,
        preload: false,
        excluded_hosts: vec!["localhost".into()],
    };
    let host = host(ServerOptions { tls: Some(tls.clone()), hsts: Some(hsts), ..ServerOptions::default() });
    host.runtime.block_on(async {
        let stream = tls_connect(&host, certified.connector("h2")).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = client.send_request(request("GET", "https://example.org/api/echo", "")).await.unwrap();
        assert_eq!(response.headers()["strict-transport-security"], "max-age=60");
        assert!(text(response).await.starts_with("GET https://example.org/api/echo "), "links are https, too");
        let excluded = client.send_request(request("GET", "https://localhost/", "")).await.unwrap();
        assert!(!excluded.headers().contains_key("strict-transport-security"));

        let stream = tls_connect(&host, certified.connector("http/1.1")).await.unwrap();
        let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut asked = request("GET", "/api/echo", "");
        asked.headers_mut().insert("host", "example.org".parse().unwrap());
        let response = client.send_request(asked).await.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (Version::HTTP_11, 200));

        // A renewed certificate is shown to whoever connects from now on; connections that are there go on.
        let old = certified.connector("h2");
        certified.renew();
        tls.reload_if_changed();
        assert!(tls_connect(&host, old).await.is_err(), "the old one is not shown any more");
        tls_connect(&host, certified.connector("h2")).await.unwrap();
        let mut asked = request("GET", "/", "");
        asked.headers_mut().insert("host", "example.org".parse().unwrap());
        assert_eq!(client.send_request(asked).await.unwrap().status().as_u16(), 200);
    });
    let plain = host.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(code(&plain) == "400" && body(&plain) == "this port speaks HTTPS: begin the URL with https://", "{plain}");
}

#[test]
fn without_tls_nothing_is_said_of_it() {
    let hsts = crate::app::Hsts {
        max_age: Duration::from_secs(60),
        include_sub_domains: false,
        preload: false,
        excluded_hosts: vec![],
    };
    let host = host(ServerOptions { hsts: Some(hsts), ..ServerOptions::default() });
    assert!(!host.ask("GET /").contains("strict-transport"));
}

#[test]
fn half_a_handshake_is_given_up() {
    let certified = Certified::new();
    let timeouts = Timeouts { head: Duration::from_millis(300), ..Timeouts::default() };
    let tls = Some(Tls::load(certified.files.clone()).unwrap());
    let host = host(ServerOptions { tls, timeouts, ..ServerOptions::default() });
    let mut stream = host.connect();
    stream.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    assert_eq!(read_all(&mut stream), "");
    assert_eq!(code(&host.raw("nonsense")), "400");
}
