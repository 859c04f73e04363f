//! What stands between a request and its function: CORS, throttles, errors, streams, pace.

use super::*;
use crate::app::Cors;

fn with_cors(origins: Option<&[&str]>, credentials: bool) -> Host {
    let origins = origins.map(|origins| origins.iter().map(|&origin| origin.to_owned()).collect());
    let cors = Some(Cors { origins, credentials });
    host(ServerOptions { cors, allowed_hosts: vec!["example.org".parse().unwrap()], ..ServerOptions::default() })
}

fn ask(host: &Host, line: &str, headers: &str) -> String {
    host.raw(format!("{line} HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n{headers}\r\n"))
}

#[test]
fn pages_that_are_allowed_may_call_functions_and_nothing_else() {
    let host = with_cors(Some(&["https://page.test"]), true);
    let preflight = "Origin: https://page.test\r\nAccess-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: content-type, x-functions-key\r\n";
    let told = ask(&host, "OPTIONS /api/echo", preflight);
    assert_eq!(code(&told), "204", "{told}");
    for header in [
        "access-control-allow-origin: https://page.test\r\n",
        "access-control-allow-credentials: true\r\n",
        "access-control-allow-methods: POST\r\n",
        "access-control-allow-headers: content-type, x-functions-key\r\n",
        "vary: Origin\r\n",
    ] {
        assert!(told.contains(header), "{header} in {told}");
    }
    let called = ask(&host, "POST /api/echo", "Origin: https://page.test\r\n");
    assert!(
        code(&called) == "200" && called.contains("access-control-allow-origin: https://page.test\r\n"),
        "{called}"
    );
    // A refusal can be read, too.
    assert!(ask(&host, "GET /nothing", "Origin: https://page.test\r\n").contains("access-control-allow-origin: "));
    // Others stay what they were, and the host's own paths know nothing of it.
    let foreign = ask(&host, "POST /api/echo", "Origin: https://evil.test\r\n");
    assert!(
        code(&foreign) == "403" && !foreign.contains("access-control") && foreign.contains("vary: Origin"),
        "{foreign}"
    );
    let two = ask(&host, "POST /api/echo", "Origin: https://page.test\r\nOrigin: https://evil.test\r\n");
    assert_eq!(code(&two), "403");
    for path in ["/runtime/webhooks/durabletask/instances", "/admin/host/status", "/Admin/functions", "/runtime/x"] {
        let own = ask(&host, &format!("POST {path}"), "Origin: https://page.test\r\n");
        assert!(code(&own) == "403" && !own.contains("access-control"), "{path}: {own}");
        let asked = ask(&host, &format!("OPTIONS {path}"), preflight);
        assert!(!asked.contains("access-control"), "{path}: {asked}");
    }
}

#[test]
fn any_page_means_any_and_no_credentials() {
    let host = with_cors(None, false);
    let called = ask(&host, "POST /api/echo", "Origin: null\r\n");
    assert!(code(&called) == "200" && called.contains("access-control-allow-origin: *\r\n"), "{called}");
    assert!(!called.contains("credentials") && !called.contains("vary"), "{called}");
    assert_eq!(code(&ask(&host, "POST /admin/host/ping", "Origin: null\r\n")), "403");
    let without = with_cors(Some(&[]), false);
    assert_eq!(code(&ask(&without, "POST /api/echo", "Origin: https://page.test\r\n")), "403");
}

#[test]
fn a_host_that_has_no_more_to_give_says_so_to_functions_only() {
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let over = Arc::clone(&is_over);
    let overload: Overload = Arc::new(move || over.load(Ordering::SeqCst).then_some("memory"));
    let host = host(ServerOptions { overload: Some(overload), ..ServerOptions::default() });
    let refused = host.ask("GET /api/echo");
    assert!(code(&refused) == "429" && refused.contains("retry-after: 1\r\n"), "{refused}");
    for path in ["/", "/admin/host/status", "/runtime/health/live", "/runtime/webhooks/durabletask/instances?top=0"] {
        assert_eq!(code(&host.ask(&format!("GET {path}"))), "200", "{path}");
    }
    is_over.store(false, Ordering::SeqCst);
    assert_eq!(code(&host.ask("GET /api/echo")), "200");
}

#[test]
fn a_function_in_error_says_why() {
    let host = host(ServerOptions::default());
    let told = host.ask("PUT /api/wrong");
    assert!(code(&told) == "503" && body(&told) == "The 'Wrong' function is in error: it is wrong\n", "{told}");
    assert_eq!(code(&host.ask("PUT /api/other")), "404");
    assert_eq!(
        code(&host.raw("CONNECT example.org:81 HTTP/1.1\r\nHost: example.org:81\r\nConnection: close\r\n\r\n")),
        "404"
    );
}

#[test]
fn a_streamed_body_comes_back_while_it_is_sent() {
    let host = host(ServerOptions::default());
    let mut stream = host.connect();
    write!(stream, "POST /api/stream-echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for piece in ["one", "two", "three"] {
        write!(stream, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
        let mut seen = String::new();
        while !seen.contains(piece) {
            seen += &read_some(&mut stream);
        }
    }
    write!(stream, "0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let rest = read_all(&mut stream);
    assert!(rest.contains("0\r\n\r\nHTTP/1.1 200 OK"), "the connection is used again: {rest}");
}

#[test]
fn a_client_that_reads_nothing_lets_its_function_go() {
    let timeouts = Timeouts { write: Duration::from_millis(300), ..Timeouts::default() };
    let host = host(ServerOptions { timeouts, ..ServerOptions::default() });
    let mut stream = host.connect();
    write!(stream, "GET /api/stream-greedy HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // Megabytes are in the system's buffers, at a second for each of their KiB.
    eventually("the function is let go", || host.fake.left.load(Ordering::SeqCst) == 1);
    let told = read_all(&mut stream);
    assert!(told.starts_with("HTTP/1.1 200 OK") && !told.ends_with("0\r\n\r\n"), "it broke off");
    assert_eq!(code(&host.ask("GET /")), "200");
}

#[test]
fn a_refused_request_may_send_its_body_to_the_end() {
    let host = host(ServerOptions::default());
    for (target, status) in [("/nothing", "404"), ("/runtime/webhooks/durabletask/nothing", "404")] {
        let mut stream = host.connect();
        write!(stream, "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 8 << 20).unwrap();
        let mut seen = String::new();
        while !seen.contains("\r\n\r\n") {
            seen += &read_some(&mut stream);
        }
        assert_eq!(code(&seen), status, "{seen}");
        for _ in 0..8 {
            stream.write_all(&[b'x'; 1 << 20]).unwrap();
        }
        write!(stream, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let rest = read_all(&mut stream);
        assert_eq!(code(&rest), "200", "the connection is used again: {rest}");
    }
    // Who waits to be told to send is not told.
    let head = "POST /nothing HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let told = host.raw(head);
    assert_eq!(code(&told), "404", "{told}");
}

#[test]
fn a_coding_that_nobody_undoes_is_refused() {
    let host = host(ServerOptions::default());
    let ask = |headers: &str| {
        let head = "POST /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        host.raw(format!("{head}{headers}\r\n3\r\nabc\r\n0\r\n\r\n"))
    };
    assert_eq!(code(&ask("Transfer-Encoding:  Chunked \r\n")), "200");
    for headers in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let told = ask(headers);
        assert_eq!(code(&told), "400", "{headers}: {told}");
    }
}

#[test]
fn a_stream_that_fails_does_not_look_like_a_whole_one() {
    let host = host(ServerOptions::default());
    let told = host.raw("GET /api/stream-fails HTTP/1.1\r\nHost: a\r\n\r\n");
    // Cut off, whatever of it was sent before.
    assert!(!told.contains("\r\n0\r\n") && !told.contains("content-length"), "{told}");
}

#[test]
fn a_response_without_a_body_takes_none_from_the_next_one() {
    let host = host(ServerOptions::default());
    for path in ["stream-empty", "stream-odd"] {
        let mut stream = host.connect();
        write!(stream, "GET /api/{path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let told = read_all(&mut stream);
        let (first, next) = told.split_once("\r\n\r\n").unwrap();
        assert!(first.starts_with("HTTP/1.1 200 OK") && next.starts_with("HTTP/1.1 200 OK"), "{told}");
        assert!(first.contains("content-length: 0"), "{told}");
    }
    let told = host.raw("HEAD /api/stream-empty HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(told.contains("content-length: 10"), "the length of what GET would answer: {told}");
}

#[test]
fn a_streamed_request_that_is_too_large_or_too_slow_is_its_senders_fault() {
    let timeouts = Timeouts { body: Duration::from_millis(300), ..Timeouts::default() };
    let host = host(ServerOptions { timeouts, ..small() });
    let head = "POST /api/stream-reads HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    assert_eq!(code(&host.raw(format!("{head}Content-Length: 2000\r\n\r\n{}", "x".repeat(2000)))), "413");
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    assert_eq!(code(&host.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(3)))), "413");
    assert_eq!(code(&host.raw(format!("{head}Content-Length: 10\r\n\r\n12345"))), "408");
    assert_eq!(code(&host.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n"))), "400");
}

#[test]
fn a_body_that_drips_is_given_up_however_often_a_byte_comes() {
    let timeouts = Timeouts { body: Duration::from_millis(400), ..Timeouts::default() };
    let host = host(ServerOptions { timeouts, ..ServerOptions::default() });
    for path in ["/api/echo", "/api/stream-reads"] {
        let mut stream = host.connect();
        write!(stream, "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").unwrap();
        let mut drip = stream.try_clone().unwrap();
        let dripping = std::thread::spawn(move || {
            // Until the server closes; never so long a pause as the limit.
            while drip.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let told = read_some(&mut stream);
        assert!(code(&told) == "408" && told.contains("connection: close\r\n"), "{path}: {told}");
        stream.shutdown(Shutdown::Both).unwrap();
        dripping.join().unwrap();
    }
}

#[test]
fn a_head_that_drips_is_given_up_however_often_a_byte_comes() {
    let timeouts = Timeouts { head: Duration::from_millis(400), ..Timeouts::default() };
    let host = host(ServerOptions { timeouts, ..ServerOptions::default() });
    let mut stream = host.connect();
    // The second request of a connection: the first one is answered.
    write!(stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(code(&read_some(&mut stream)), "200");
    let mut drip = stream.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        let _ = drip.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
        while drip.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let told = read_some(&mut stream);
    assert_eq!(code(&told), "408", "{told}");
    drop(stream);
    dripping.join().unwrap();
}
