//! A component that knows nothing of Soloist, made with another toolchain's `wasi:http` library, as an HTTP function.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use soloist_tests::{Answer, Host, Server, eventually};

fn connect(host: &Host) -> TcpStream {
    let stream = TcpStream::connect(host.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Reads until the text is there; returns what was read up to its end.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(text.as_bytes()) {
        let length = stream.read(&mut byte).unwrap();
        assert_ne!(length, 0, "no {text:?} in {:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_component_is_served_on_its_route() {
    let host = Host::start_default().await;
    let headers = [("X-One", "1"), ("x-one", "2"), ("cookie", "c=1")];
    let reply = host.send("GET", "/api/stream/deep/seen?a=1&a=2", &headers, "").await;
    let authority = host.address();
    let first = format!("GET http://{authority}/api/stream/deep/seen?a=1&a=2\n");
    assert!(reply.status == 200 && reply.text().starts_with(&first), "{reply:?}");
    assert!(reply.text().contains("x-one: 1\nx-one: 2\n") && reply.text().contains("cookie: c=1\n"), "{reply:?}");
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let head = host.send("HEAD", "/api/stream/seen", &[], "").await;
    assert_eq!((head.status, head.text()), (202, ""));
    let bytes: Vec<u8> = (0..300_000).map(|byte| (byte % 251) as u8).collect();
    assert_eq!(host.post("/api/stream/echo", bytes.clone()).await.body, bytes, "any bytes, in both directions");
    assert_eq!(host.post("/api/stream/length", vec![0; 5_000_000]).await.text(), "5000000");
    assert_eq!(host.get("/api/stream/none").await.status, 204);
    assert_eq!(host.get("/api/stream/nothing").await.status, 404);
    assert_eq!(host.get("/api/stream/environment").await.text(), "[]", "it sees the app's settings, which are none");
    assert!(host.printed().contains("/api/stream/{*rest}"), "{}", host.printed());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_in_both_directions() {
    let host = Host::start_default().await;
    let address = host.address();
    let task = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "POST /api/stream/echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        for piece in ["first", "second", "third"] {
            write!(stream, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
            read_until(&mut stream, piece);
        }
        write!(stream, "0\r\n\r\n").unwrap();
        read_until(&mut stream, "0\r\n\r\n");
        // The connection is kept.
        write!(stream, "GET /api/stream/lines?3 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        for line in ["line 0", "line 1", "line 2", "\r\n0\r\n\r\n"] {
            read_until(&mut stream, line);
        }
    });
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_holds_the_guest_up_and_who_leaves_ends_it() {
    let host = Host::start_default().await;
    let mut stream = connect(&host);
    write!(stream, "GET /api/stream/pieces?100000 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    eventually("the guest makes the first piece", || async { host.log().contains("made 0 MiB").then_some(()) }).await;
    // What sockets and buffers hold is far less than what the guest would make.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let made = |log: &str| log.lines().filter(|line| line.contains(" MiB") && line.contains("made ")).count();
    let before = made(&host.log());
    assert!(before < 64, "{before} MiB were made for nobody");
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    // Gone with its client: one that sleeps does not wake up.
    let mut sleeper = connect(&host);
    write!(sleeper, "GET /api/stream/sleeps?2 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    eventually("it sleeps", || async { host.log().contains("asleep").then_some(()) }).await;
    drop(sleeper);
    assert_eq!(host.get("/api/stream/sleeps?3").await.text(), "slept");
    let log = host.log();
    assert_eq!(log.matches("awake").count(), 1, "{log}");
    assert_eq!(made(&log), before, "{log}");
}

/// The most memory that a process has had at once, in MiB.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// Asks for a stream of so many MiB, reads it slowly, and returns how many bytes came.
fn read_slowly(host: String, mib: u64) -> u64 {
    let mut stream = TcpStream::connect(&host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /api/stream/pieces?{} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n", mib * 16)
        .unwrap();
    let (mut some, mut bytes) = (vec![0; 64 << 10], 0);
    loop {
        match stream.read(&mut some).unwrap() {
            0 => return bytes,
            length => bytes += length as u64,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_no_limit_of_size_and_is_never_held() {
    let host = Host::builder().set("extensions.soloist.maxResponseBytes", "100000").start().await;
    let read = |mib| {
        let address = host.address();
        tokio::task::spawn_blocking(move || read_slowly(address, mib))
    };
    assert!(read(1).await.unwrap() > 1 << 20);
    let before = peak_mib(host.pid());
    let readers: Vec<_> = (0..8).map(|_| read(32)).collect();
    for reader in readers {
        assert!(reader.await.unwrap() > 32 << 20, "it came whole");
    }
    let more = peak_mib(host.pid()) - before;
    assert!(more < 96, "256 MiB went through it and it took {more} MiB more");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_foreign_components() {
    let builder = Host::builder().set("extensions.soloist.guestCpuMilliseconds", "1000");
    let host = builder.set("extensions.soloist.maxRequestBytes", "100000").start().await;
    for (path, kind) in [("spins", "CpuLimitExceeded"), ("hoards", "MemoryLimitExceeded"), ("panics", "asked to")] {
        let reply = host.get(&format!("/api/stream/{path}")).await;
        assert_eq!((reply.status, reply.text()), (500, ""), "{path}");
        let log = host.log();
        assert!(log.lines().any(|line| line.contains("a function failed") && line.contains(kind)), "{path}: {log}");
    }
    assert_eq!(host.get("/api/stream/fails").await.status, 500);
    // Its sender's fault, whatever the function makes of it.
    assert_eq!(host.post("/api/stream/length", vec![0; 100_001]).await.status, 413);
    let mut stream = connect(&host);
    let chunk = format!("186a0\r\n{}\r\n", "x".repeat(100_000));
    let head = "POST /api/stream/length HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let _ = write!(stream, "{head}{chunk}{chunk}0\r\n\r\n");
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 413 "));
    // A response that breaks off does not look like a whole one.
    let broken = host.try_send("GET", "/api/stream/breaks", &[], "").await;
    assert!(broken.is_err(), "{broken:?}");
    assert_eq!(host.get("/api/stream/lines?2").await.text(), "line 0\nline 1\n");
    let hasty = Host::builder().set("functionTimeout", "00:00:02").start().await;
    assert_eq!(hasty.get("/api/stream/sleeps?60").await.status, 500);
    assert!(hasty.log().contains("Timeout value of 00:00:02 exceeded by function 'HttpStream'"), "{}", hasty.log());
    assert!(hasty.try_send("GET", "/api/stream/lines?600", &[], "").await.is_err(), "a response has no more time");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_foreign_components_are_judged_like_any_others() {
    let server = Server::start(Answer::ok("hello")).await;
    let host = Host::start_default().await;
    let refused = host.post("/api/stream/fetches", server.url()).await;
    assert!(refused.text().starts_with("refused: "), "{refused:?}");
    assert!(server.requests().is_empty() && host.log().contains("an outgoing request was refused"));
    let open = Host::builder().set("extensions.soloist.outboundAllow", &server.address()).start().await;
    assert_eq!(open.post("/api/stream/fetches", server.url()).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_components_count_against_the_same_quota() {
    let builder = Host::builder().set("extensions.soloist.maxConcurrentGuests", "1");
    let host = builder.set("extensions.soloist.requestQueueSeconds", "0").start().await;
    let mut stream = connect(&host);
    write!(stream, "GET /api/stream/lines?1000 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    read_until(&mut stream, "line 0");
    assert_eq!(host.get("/api/stream/none").await.status, 429, "the response still goes out");
    drop(stream);
    eventually("the guest is gone", || async { (host.get("/api/stream/none").await.status == 204).then_some(()) })
        .await;
}
