//! The server over real connections, with functions that are closures.

mod described;
mod edge;
mod http2;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use super::keys::Keys;
use super::management::tests::ScriptedHub;
use super::*;
use crate::app::AuthLevel;
use crate::durable::Json;

/// Functions `echo` (tells what it got), `gate` (waits for a permit), `busy`, `broken`, `odd` (bad headers), `panics`.
struct Fake {
    gate: Semaphore,
    entered: AtomicUsize,
    left: Arc<AtomicUsize>,
}

impl HttpFunctions for Fake {
    fn call(&self, invocation: HttpInvocation) -> BoxFuture<'_, Result<HttpReply, HttpCallError>> {
        Box::pin(async move {
            let text = |text: String| HttpReply { status: 200, headers: vec![], body: text.into() };
            match &*invocation.function {
                "echo" => Ok(text(format!(
                    "{} {} params={:?} query={:?} headers={:?} body={}",
                    invocation.method,
                    invocation.url,
                    invocation.params,
                    invocation.query,
                    invocation.headers,
                    invocation.body.len()
                ))),
                "gate" => {
                    self.entered.fetch_add(1, Ordering::SeqCst);
                    let _left = OnDrop(&self.left);
                    self.gate.acquire().await.unwrap().forget();
                    Ok(text("through".into()))
                }
                "busy" => Err(HttpCallError::Throttled { retry_after: Duration::from_secs(3) }),
                "broken" => Err(HttpCallError::Failed),
                "odd" => Ok(HttpReply {
                    status: 200,
                    headers: vec![("transfer-encoding".into(), "x".into()), ("a b".into(), "x".into())],
                    body: "odd".into(),
                }),
                _ => panic!("as asked"),
            }
        })
    }

    fn stream(&self, stream: HttpStream) -> BoxFuture<'_, Result<http::Response<BodyStream>, HttpCallError>> {
        Box::pin(async move { self.streamed(stream).await })
    }
}

impl Fake {
    /// `stream-echo` sends back what it gets; `stream-greedy` reads nothing and sends for ever; `stream-large` sends a MiB at once; `stream-empty` declares ten bytes
    /// and has no body; `stream-odd` declares no number; `stream-fails` ends badly.
    async fn streamed(&self, stream: HttpStream) -> Result<http::Response<BodyStream>, HttpCallError> {
        let body = stream.request.into_body();
        match &*stream.function {
            "stream-echo" => Ok(http::Response::new(body)),
            "stream-reads" => match body.collect().await {
                Ok(body) => {
                    Ok(http::Response::new(BodyStream::new(Full::new(body.to_bytes()).map_err(|never| match never {}))))
                }
                Err(_) => Err(HttpCallError::Failed),
            },
            "stream-greedy" => {
                let left = LeftOnDrop(Arc::clone(&self.left));
                let pieces = futures::stream::repeat_with(move || {
                    let _ = &left;
                    Ok(Frame::data(Bytes::from(vec![b'x'; 10_000])))
                });
                Ok(http::Response::new(BodyStream::new(StreamBody::new(pieces))))
            }
            "stream-large" => {
                let pieces = [Ok(Frame::data(Bytes::from(vec![b'x'; 1 << 20]))), Ok(Frame::data(Bytes::from("end")))];
                Ok(http::Response::new(BodyStream::new(StreamBody::new(futures::stream::iter(pieces)))))
            }
            "stream-empty" | "stream-odd" => {
                let declared = if &*stream.function == "stream-empty" { "10" } else { "+0" };
                let empty = BodyStream::new(Full::new(Bytes::new()).map_err(|never| match never {}));
                Ok(http::Response::builder().header("content-length", declared).body(empty).unwrap())
            }
            _ => {
                let pieces = [Ok(Frame::data(Bytes::from("half"))), Err(io::Error::other("as asked"))];
                Ok(http::Response::new(BodyStream::new(StreamBody::new(futures::stream::iter(pieces)))))
            }
        }
    }
}

struct OnDrop<'a>(&'a AtomicUsize);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The same for what outlives a call.
struct LeftOnDrop(Arc<AtomicUsize>);

impl Drop for LeftOnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A running server.
struct Host {
    runtime: Runtime,
    serving: Serving,
    fake: Arc<Fake>,
}

/// An app of which nothing is shown.
struct NoApp;

impl AppAdmin for NoApp {
    fn functions(&self) -> Arc<[FunctionInfo]> {
        Arc::default()
    }

    fn http_functions(&self) -> Vec<HttpFunctionInfo> {
        vec![]
    }

    fn errors(&self) -> Arc<[String]> {
        Arc::default()
    }

    fn invoke<'a>(&'a self, _: &'a str, _: Json) -> BoxFuture<'a, Result<(), InvokeError>> {
        Box::pin(async { Err(InvokeError::NotFound) })
    }
}

fn host(options: ServerOptions) -> Host {
    host_with(options, None)
}

fn host_with(options: ServerOptions, keys: Option<Arc<Keys>>) -> Host {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fake = Arc::new(Fake { gate: Semaphore::new(0), entered: AtomicUsize::new(0), left: Arc::default() });
    let routes: FunctionRoutes = Arc::new(|method, path| {
        let function = path.strip_prefix("/api/")?;
        (method != http::Method::PUT).then(|| FunctionMatch {
            function: function.into(),
            params: vec![("p".into(), "v".into())],
            auth_level: AuthLevel::Function,
            is_streamed: function.starts_with("stream"),
        })
    });
    let errors: FunctionErrors = Arc::new(|method, path| {
        let is_in_error = method == http::Method::PUT && path == "/api/wrong";
        is_in_error.then(|| FunctionInError { function: "Wrong".into(), reason: "it is wrong".into() })
    });
    let client = Arc::new(ScriptedHub::new());
    let services =
        Services { client, routes, errors: Some(errors), functions: fake.clone(), app: Arc::new(NoApp), keys };
    let any = vec![AllowedHost::Any];
    let options =
        if options.allowed_hosts.is_empty() { ServerOptions { allowed_hosts: any, ..options } } else { options };
    let serving = {
        let _context = runtime.enter();
        let server = Server::bind("127.0.0.1".parse().unwrap(), 0).unwrap();
        assert_ne!(server.local_addr().port(), 0);
        server.serve(services, options).unwrap()
    };
    Host { runtime, serving, fake }
}

fn small() -> ServerOptions {
    ServerOptions { max_request_bytes: 1000, ..ServerOptions::default() }
}

impl Host {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.serving.local_addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends bytes, and reads until the server closes.
    fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_ref()).unwrap();
        read_all(&mut stream)
    }

    /// Sends a request without a body on a connection of its own.
    fn ask(&self, line: &str) -> String {
        self.raw(format!("{line} HTTP/1.1\r\nHost: example.org:81\r\nConnection: close\r\n\r\n"))
    }
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is no worse than an end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn read_some(stream: &mut TcpStream) -> String {
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn a_function_gets_the_request_as_it_was_sent() {
    let host = host(ServerOptions::default());
    let answer = host.raw(
        b"POST /api/echo?a=1&b=x+y&a=2 HTTP/1.1\r\nHost: example.org:81\r\nX-Name: caf\xe9\r\nX-UTF8: \xc3\xa9\r\nConnection: close\r\n\
          Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(code(&answer), "200", "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"), "{answer}");
    assert_eq!(
        body(&answer),
        concat!(
            r#"POST http://example.org:81/api/echo?a=1&b=x+y&a=2 params=[("p", "v")] query=[("a", "1"), ("b", "x y"), ("a", "2")] "#,
            r#"headers=[("host", "example.org:81"), ("x-name", "café"), ("x-utf8", "é"), ("connection", "close"), ("transfer-encoding", "chunked")] body=5"#
        )
    );
}

#[test]
fn every_path_leads_to_one_place() {
    let custom = vec![("X-Custom".to_owned(), "1".to_owned()), ("bad name".to_owned(), "1".to_owned())];
    let host = host(ServerOptions { custom_headers: custom, ..ServerOptions::default() });
    for (line, status, text) in [
        ("GET /", "200", "Soloist is running.\n"),
        ("POST /", "404", ""),
        ("GET /nothing", "404", ""),
        ("GET //", "404", ""),
        ("GET //api/echo", "404", ""),
        ("GET /%ff", "400", "the path is not UTF-8: percent-encode names and ids as UTF-8"),
        ("OPTIONS *", "404", ""),
        ("PUT /api/echo", "404", ""),
        ("GET /admin/host/ping", "200", ""),
        ("POST /admin/Host/Ping/", "200", ""),
        ("GET /admin/host/DurableClient/", "200", r#"{"taskHubName":"TestHubName","#),
        ("POST /admin/host/durableClient", "404", ""),
        ("GET /admin/extensions/DurableTaskExtension/instances?top=0", "200", "["),
        ("GET /admin/Extensions/durabletaskextension/instances/unknown", "404", ""),
        ("GET /admin/extensions/DurableTaskExtensions/instances", "404", ""),
        ("GET /runtime/rpc//durabletask/instances", "404", ""),
        ("POST /admin/host/ping", "200", ""),
        ("GET /admin/functions", "200", "[]"),
        ("GET /admin/functions/nothing", "404", ""),
        ("GET /admin/host/status", "200", r#"{"id":"TestHubName","state":"Running","#),
        ("GET /admin/host/keys", "409", r#"{"Message":"#),
        ("DELETE /admin/host/ping", "404", ""),
        ("GET /admin", "404", ""),
        ("GET /runtime/health/live", "200", r#"{"status":"Healthy"}"#),
        ("GET /runtime/health/ready/", "200", r#"{"status":"Healthy"}"#),
        ("POST /runtime/health/ready", "404", ""),
        ("GET /runtime/health", "404", ""),
        ("GET /runtime/webhooks/other/x", "404", ""),
        ("GET /runtime/webhooks/durabletask/instances/unknown", "404", ""),
        ("GET /runtime/webhooks/durabletask/instances/%ff", "404", ""),
        ("GET /runtime/webhooks/durabletask", "404", ""),
        ("GET /Runtime/WebHooks/DurableTask/instances?top=0", "200", "["),
        ("DELETE /runtime/webhooks/durabletask/instances/Failed", "200", r#"{"instancesDeleted":1}"#),
        ("GET /api/odd", "200", "odd"),
        ("GET /api/broken", "500", ""),
        ("GET /api/panics", "500", ""),
    ] {
        let answer = host.ask(line);
        assert_eq!(code(&answer), status, "{line}: {answer}");
        assert!(body(&answer).starts_with(text) && body(&answer).is_empty() == text.is_empty(), "{line}: {answer}");
        assert_eq!(answer.contains("x-custom: 1\r\n"), !line.contains("/admin"), "{line}: {answer}");
    }
    let busy = host.ask("GET /api/busy");
    assert!(code(&busy) == "429" && busy.contains("retry-after: 3\r\n"), "{busy}");
}

#[test]
fn a_client_that_was_handed_the_secret_path_reaches_the_same_api() {
    let host = host(ServerOptions { rpc_secret: Some(RpcSecret::new("5ec4e7")), ..ServerOptions::default() });
    let starter = host.ask("GET /admin/host/durableClient");
    let base = format!("http://{}/runtime/rpc/5ec4e7/durabletask/", host.serving.local_addr());
    assert!(starter.contains(&format!(r#""rpcBaseUrl":"{base}""#)), "{starter}");
    assert!(starter.contains(r#""baseUrl":"http://example.org:81/runtime/webhooks/durabletask""#), "{starter}");
    assert!(host.ask("GET /admin/host/durableClient?rpc=false").contains(r#""rpcBaseUrl":null"#));
    let running = host.ask("GET /runtime/rpc/5ec4e7/durabletask/instances/Running?showInput=true");
    assert_eq!(code(&running), "202");
    let location = "http://example.org:81/runtime/webhooks/durabletask/instances/Running?showInput=true";
    assert!(running.contains(&format!("location: {location}\r\n")), "the secret is not handed on: {running}");
    for path in
        ["/runtime/rpc/5ec4e8/durabletask/instances", "/runtime/rpc/durabletask/instances", "/runtime/rpc/5ec4e7"]
    {
        assert_eq!(code(&host.ask(&format!("GET {path}"))), "404", "{path}");
    }
}

#[test]
fn links_name_the_host_that_the_caller_used() {
    let host = host(ServerOptions::default());
    let start = "/runtime/webhooks/durabletask/orchestrators/E1/a";
    let answer = host.raw(format!(
        "POST {start} HTTP/1.1\r\nHost: example.org:81\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnull"
    ));
    let location =
        "http://example.org:81/runtime/webhooks/durabletask/instances/a?taskHub=TestHubName&connection=Storage";
    assert!(code(&answer) == "202" && answer.contains(&format!("location: {location}\r\n")), "{answer}");
    let answer = host.ask(&format!("POST http://absolute:5{start}"));
    assert!(answer.contains("location: http://absolute:5/runtime"), "{answer}");
    let answer = host.raw(format!("POST {start} HTTP/1.1\r\nHost: a\"b\r\nConnection: close\r\n\r\n"));
    assert_eq!(code(&answer), "421", "{answer}");
}

#[test]
fn malformed_requests_are_refused_and_the_server_goes_on() {
    let host = host(small());
    let long = "x".repeat(100_000);
    for (request, status) in [
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nbad name: x\r\n\r\n".to_owned(), "400"),
        ("GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "200"),
        ("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_owned(), "400"),
        ("POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(), "400"),
        ("POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nx: {long}\r\n\r\n"), "431"),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "414"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(300)), "431"),
    ] {
        let answer = host.raw(&request);
        let shown: String = request.chars().take(80).collect();
        assert!(code(&answer) == status || (status == "414" && code(&answer) == "431"), "{shown:?}: {answer}");
    }
    assert_eq!(code(&host.raw(b"GET /api/\xff HTTP/1.1\r\nHost: a\r\n\r\n")), "400");
    let utf8 = host.raw("GET /api/echo?x=\u{fc} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(utf8.contains("query=[(\"x\", \"\u{fc}\")]"), "{utf8}");
    assert_eq!(code(&host.ask("GET /")), "200");
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_length_and_by_its_bytes() {
    let host = host(small());
    let head = "POST /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let fits = host.raw(format!("{head}Content-Length: 1000\r\n\r\n{}", "x".repeat(1000)));
    assert!(code(&fits) == "200" && fits.ends_with("body=1000"), "{fits}");
    let told =
        "the request body is larger than 1000 bytes; the limit is extensions.soloist.maxRequestBytes in host.json";
    // By the length alone: not one byte of the body is sent.
    let mut stream = host.connect();
    write!(stream, "{head}Content-Length: 1001\r\n\r\n").unwrap();
    let answer = read_some(&mut stream);
    assert!(code(&answer) == "413" && answer.ends_with(told), "{answer}");
    // A client that asks first is not told to go on.
    let mut stream = host.connect();
    write!(stream, "{head}Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n").unwrap();
    let answer = read_some(&mut stream);
    assert_eq!(code(&answer), "413", "{answer}");
    // One that sends it all without looking still gets to read the answer.
    let all = host.raw(format!("{head}Content-Length: 4000000\r\n\r\n{}", "x".repeat(4_000_000)));
    assert!(code(&all) == "413" && all.ends_with(told), "{all}");
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    let fits = host.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"));
    assert!(fits.ends_with("body=1000"), "{fits}");
    let chunked = host.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(500)));
    assert!(code(&chunked) == "413" && chunked.ends_with(told), "{chunked}");
}

#[test]
fn bodies_together_stay_within_the_memory_for_them() {
    let host = host(ServerOptions { max_request_bytes: 1000, buffered_bytes_max: 1500, ..ServerOptions::default() });
    let request = format!(
        "POST /api/gate HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n{}",
        "x".repeat(1000)
    );
    let mut first = host.connect();
    first.write_all(request.as_bytes()).unwrap();
    eventually("the first request is in work", || host.fake.entered.load(Ordering::SeqCst) == 1);
    let second = host.raw(&request);
    assert!(code(&second) == "503" && second.contains("retry-after: 1\r\n"), "{second}");
    host.fake.gate.add_permits(2);
    assert_eq!(code(&read_all(&mut first)), "200");
    assert_eq!(code(&host.raw(&request)), "200", "the memory was given back");
}

#[test]
fn slow_clients_delay_nobody_and_are_given_up() {
    // Long enough for a request to be sent at once, on a machine that does much else.
    let timeouts = Timeouts { head: Duration::from_secs(2), ..Timeouts::default() };
    let host = host(ServerOptions { timeouts, ..ServerOptions::default() });
    let mut idle = host.connect();
    write!(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(code(&read_some(&mut idle)), "200");
    let mut slow: Vec<TcpStream> = (0..50).map(|_| host.connect()).collect();
    for stream in &mut slow {
        write!(stream, "GET / HTTP/1.1\r\nHo").unwrap();
    }
    assert_eq!(code(&host.ask("GET /")), "200");
    for mut stream in slow {
        assert_eq!(code(&read_all(&mut stream)), "408", "and closed");
    }
    // A connection that only waits is kept: its time is another.
    write!(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(code(&read_some(&mut idle)), "200");
}

#[test]
fn a_request_in_work_is_never_too_slow() {
    let timeouts = Timeouts {
        head: Duration::from_secs(2),
        idle: Duration::from_secs(2),
        write: Duration::from_millis(500),
        ..Timeouts::default()
    };
    let host = host(ServerOptions { timeouts, ..ServerOptions::default() });
    let mut stream = host.connect();
    write!(stream, "GET /api/gate HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(2_500));
    host.fake.gate.add_permits(1);
    assert_eq!(code(&read_some(&mut stream)), "200");
    assert_eq!(read_all(&mut stream), "", "an idle connection ends");
}

#[test]
fn a_client_that_goes_away_cancels_its_call() {
    let host = host(ServerOptions::default());
    let mut stream = host.connect();
    write!(stream, "GET /api/gate HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("the call begins", || host.fake.entered.load(Ordering::SeqCst) == 1);
    stream.shutdown(Shutdown::Both).unwrap();
    eventually("the call is dropped", || host.fake.left.load(Ordering::SeqCst) == 1);
}

#[test]
fn shutdown_finishes_what_is_in_work_and_closes_what_is_idle() {
    let Host { runtime, serving, fake } = host(ServerOptions::default());
    let address = serving.local_addr();
    let mut working = TcpStream::connect(address).unwrap();
    write!(working, "GET /api/gate HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut fresh = TcpStream::connect(address).unwrap();
    let mut idle = TcpStream::connect(address).unwrap();
    write!(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(code(&read_some(&mut idle)), "200");
    eventually("the call begins", || fake.entered.load(Ordering::SeqCst) == 1);
    let (sender, receiver) = mpsc::channel();
    runtime.spawn(async move {
        sender.send(serving.shutdown(Duration::from_secs(60)).await).unwrap();
    });
    assert_eq!(read_all(&mut idle), "", "closed at once");
    assert_eq!(read_all(&mut fresh), "", "closed at once");
    eventually("nobody listens any more", || TcpStream::connect(address).is_err());
    assert!(receiver.try_recv().is_err(), "it waits for the request");
    fake.gate.add_permits(1);
    let answer = read_all(&mut working);
    assert!(code(&answer) == "200" && answer.ends_with("through"), "{answer}");
    assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok(0));
}

#[test]
fn shutdown_drops_what_does_not_end_in_time() {
    let Host { runtime, serving, fake } = host(ServerOptions::default());
    let mut stuck = TcpStream::connect(serving.local_addr()).unwrap();
    write!(stuck, "GET /api/gate HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("the call begins", || fake.entered.load(Ordering::SeqCst) == 1);
    assert!(runtime.block_on(serving.shutdown(Duration::from_millis(50))) >= 1);
    assert_eq!(read_all(&mut stuck), "");
    assert_eq!(fake.left.load(Ordering::SeqCst), 1);
}

#[test]
fn connections_over_the_limit_wait_for_their_turn() {
    let host = host(ServerOptions { connections_max: Some(1), ..ServerOptions::default() });
    let mut first = host.connect();
    write!(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(code(&read_some(&mut first)), "200");
    let mut second = host.connect();
    write!(second, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(second.read(&mut [0; 1]).is_err(), "not answered yet");
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(code(&read_all(&mut second)), "200");
}
