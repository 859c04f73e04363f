//! Requests to servers on this machine.

use std::pin::Pin;

use http_body_util::{BodyExt as _, Empty};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::*;

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Ends what the test leaves behind.
struct Server {
    port: u16,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Hands every connection to `serve`.
async fn server<F: Future<Output = ()> + Send>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream).await;
        }
    });
    Server { port, task }
}

/// Reads a request's head and answers.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: &str) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(response.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    String::from_utf8(head).unwrap()
}

/// A server that answers `hello` and keeps the heads of its requests; its URL.
pub(super) async fn recording_server() -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let heads = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&heads);
    // It ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let head = answer(stream, HELLO).await;
            kept.lock().unwrap().push(head);
        }
    });
    (url, heads)
}

fn outgoing(outbound: Outbound) -> Outgoing {
    Outgoing::new(Arc::new(outbound), Arc::new(Console::new("Test".into(), "i".into())), true)
}

fn allowing(rules: &[&str]) -> Outgoing {
    outgoing(Outbound::new(rules.iter().map(|rule| rule.parse().unwrap()).collect()))
}

fn request(url: &str) -> Request<WasiBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get(url).header("host", "test").body(body).unwrap()
}

fn sending(outgoing: &mut Outgoing, url: &str, options: RequestOptions) -> Pin<Box<dyn Future<Output = Sent> + Send>> {
    Pin::from(outgoing.send_request(request(url), Some(options), Box::new(async { Ok(()) })))
}

/// Sends a request and reads the response to its end.
async fn fetch(outgoing: &mut Outgoing, url: &str, options: RequestOptions) -> Result<String, Error> {
    let (response, drive) = sending(outgoing, url, options).await?;
    let drive = tokio::spawn(Pin::from(drive));
    let body = response.into_body().collect().await.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
    drive.abort();
    body
}

async fn get(rules: &[&str], url: &str) -> Result<String, Error> {
    fetch(&mut allowing(rules), url, RequestOptions::default()).await
}

#[tokio::test]
async fn only_public_addresses_are_reached_unless_a_rule_allows_others() {
    let server = server(async |stream| drop(answer(stream, HELLO).await)).await;
    let port = server.port;
    let urls = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        // Other ways of writing it, which the system's resolver knows.
        format!("http://2130706433:{port}/"),
        format!("http://127.1:{port}/"),
    ];
    for url in &urls {
        assert!(matches!(get(&[], url).await, Err(Error::DestinationIpProhibited)), "{url}");
        let elsewhere = ["10.0.0.0/8", "127.0.0.1:1", "other.example"];
        assert!(matches!(get(&elsewhere, url).await, Err(Error::DestinationIpProhibited)), "{url}");
        for rule in ["*".to_owned(), format!("127.0.0.1:{port}"), "127.0.0.0/8".to_owned()] {
            assert_eq!(get(&[&rule], url).await.unwrap(), "hello", "{rule} {url}");
        }
    }
    assert_eq!(get(&["LOCALHOST"], &urls[1]).await.unwrap(), "hello");
    assert!(matches!(get(&["localhost"], &urls[0]).await, Err(Error::DestinationIpProhibited)));
}

#[tokio::test]
async fn a_refused_request_never_connects() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    assert!(matches!(get(&[], &url).await, Err(Error::DestinationIpProhibited)));
    assert!(tokio::time::timeout(Duration::from_millis(20), listener.accept()).await.is_err());
}

#[tokio::test]
async fn urls_that_name_no_destination_are_refused() {
    for url in ["http://user:secret@127.0.0.1/", "http://127.0.0.1:99999/", "/path"] {
        let Ok(uri) = url.parse() else { continue };
        assert!(matches!(Destination::of(&uri), Err(Error::HttpRequestUriInvalid)), "{url}");
    }
    let of = |url: &str| Destination::of(&url.parse().unwrap()).unwrap();
    assert_eq!(of("https://a.example/x"), Destination { host: "a.example".into(), port: 443, is_tls: true });
    assert_eq!(of("http://[::1]/"), Destination { host: "::1".into(), port: 80, is_tls: false });
    assert!(matches!(get(&["*"], "http://no-such-name.invalid/").await, Err(Error::DnsError { .. })));
}

#[tokio::test]
async fn the_request_line_holds_only_the_path() {
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let server = server(move |stream| {
        let tx = tx.clone();
        async move { tx.send(answer(stream, HELLO).await).unwrap() }
    })
    .await;
    get(&["*"], &format!("http://127.0.0.1:{}/a?b=%20c", server.port)).await.unwrap();
    assert!(rx.recv().await.unwrap().starts_with("GET /a?b=%20c HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_server_that_keeps_silent_is_given_up() {
    let silent = server(async |stream| {
        tokio::spawn(async move {
            let _open = stream;
            std::future::pending::<()>().await;
        });
    })
    .await;
    let url = format!("http://127.0.0.1:{}/", silent.port);
    let first = RequestOptions { first_byte_timeout: Some(Duration::from_millis(20)), ..RequestOptions::default() };
    assert!(matches!(fetch(&mut allowing(&["*"]), &url, first).await, Err(Error::ConnectionReadTimeout)));
    let tls = RequestOptions { connect_timeout: Some(Duration::from_millis(20)), ..RequestOptions::default() };
    let url = url.replace("http:", "https:");
    assert!(matches!(fetch(&mut allowing(&["*"]), &url, tls).await, Err(Error::ConnectionTimeout)));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_given_up() {
    let stalling = server(async |mut stream| {
        let _ = answer(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
        tokio::spawn(async move {
            let _open = stream;
            std::future::pending::<()>().await;
        });
    })
    .await;
    let options =
        RequestOptions { between_bytes_timeout: Some(Duration::from_millis(20)), ..RequestOptions::default() };
    let url = format!("http://127.0.0.1:{}/", stalling.port);
    assert!(matches!(fetch(&mut allowing(&["*"]), &url, options).await, Err(Error::ConnectionReadTimeout)));
}

#[tokio::test]
async fn a_connection_that_ends_early_is_an_error_and_no_short_body() {
    let torn = server(async |stream| {
        let _ = answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
    })
    .await;
    assert!(get(&["*"], &format!("http://127.0.0.1:{}/", torn.port)).await.is_err());
    let closed = server(async |stream| drop(answer(stream, "").await)).await;
    assert!(get(&["*"], &format!("http://127.0.0.1:{}/", closed.port)).await.is_err());
}

#[tokio::test]
async fn dropping_a_request_closes_its_connection() {
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let server = server(move |mut stream| {
        let tx = tx.clone();
        async move {
            answer(&mut stream, "").await;
            tx.send(()).unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            tx.send(()).unwrap();
        }
    })
    .await;
    let mut outgoing = allowing(&["*"]);
    let url = format!("http://127.0.0.1:{}/", server.port);
    let mut sent = sending(&mut outgoing, &url, RequestOptions::default());
    tokio::select! {
        _ = &mut sent => panic!("nothing is answered"),
        arrived = rx.recv() => arrived.unwrap(),
    }
    drop(sent);
    rx.recv().await.unwrap();
}

#[tokio::test]
async fn a_guest_has_so_many_requests_and_gets_them_back() {
    let server = server(async |stream| drop(answer(stream, HELLO).await)).await;
    let mut outgoing = allowing(&["*"]);
    let url = format!("http://127.0.0.1:{}/", server.port);
    let held: Vec<_> = (0..REQUESTS_MAX).map(|_| sending(&mut outgoing, &url, RequestOptions::default())).collect();
    let one_more = fetch(&mut outgoing, &url, RequestOptions::default()).await;
    assert!(matches!(one_more, Err(Error::ConnectionLimitReached)));
    drop(held);
    for _ in 0..2 * REQUESTS_MAX {
        assert_eq!(fetch(&mut outgoing, &url, RequestOptions::default()).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn functions_without_effects_send_nothing() {
    let mut outgoing = allowing(&["*"]);
    outgoing.has_effects = false;
    let sent = fetch(&mut outgoing, "http://127.0.0.1:1/", RequestOptions::default()).await;
    assert!(matches!(sent, Err(Error::HttpRequestDenied)));
}

#[tokio::test]
async fn tls_trusts_known_roots_and_the_right_name_only() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = certified.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, HELLO).await;
            }
        }
    })
    .await;
    let trusting = || {
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        outgoing(Outbound { allow: vec!["*".parse().unwrap()], tls: connection::tls(roots) })
    };
    let by_name = format!("https://localhost:{}/", server.port);
    assert_eq!(fetch(&mut trusting(), &by_name, RequestOptions::default()).await.unwrap(), "hello");
    let by_address = format!("https://127.0.0.1:{}/", server.port);
    let misnamed = fetch(&mut trusting(), &by_address, RequestOptions::default()).await;
    assert!(matches!(misnamed, Err(Error::TlsCertificateError)), "{misnamed:?}");
    let unknown = get(&["*"], &by_name).await;
    assert!(matches!(unknown, Err(Error::TlsCertificateError)), "{unknown:?}");
}
