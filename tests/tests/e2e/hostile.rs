//! Functions that behave as badly as they can delay nobody, and are reported by name.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use soloist_tests::{Client, Host, eventually};

/// Calls a well-behaved function until told to stop; returns how long each call took, the longest last.
async fn well_behaved_neighbour(client: Client, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        assert_eq!(client.get("/api/echo/neighbour").await.status, 200);
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    took
}

/// Runs hostile functions at once, and checks that each fails without telling why, is named in the log, and slows nobody.
async fn endure(host: &Host, targets: &[(&str, &str)]) {
    let stop = Arc::new(AtomicBool::new(false));
    let neighbour = tokio::spawn(well_behaved_neighbour(host.client(), stop.clone()));
    let calls: Vec<_> = targets
        .iter()
        .map(|(target, _)| {
            let (client, target) = (host.client(), format!("/api/{target}"));
            tokio::spawn(async move { client.get(&target).await })
        })
        .collect();
    for (call, (target, _)) in calls.into_iter().zip(targets) {
        let reply = call.await.unwrap();
        assert_eq!((reply.status, reply.text()), (500, ""), "{target}");
    }
    stop.store(true, Ordering::Relaxed);
    let took = neighbour.await.unwrap();
    let p99 = took[took.len() * 99 / 100];
    println!("{} calls of a neighbour: 99 % within {p99:?}, the longest took {:?}", took.len(), took[took.len() - 1]);
    assert!(p99 < Duration::from_secs(1), "{p99:?} of {} calls", took.len());
    let log = host.log();
    for (target, kind) in targets {
        let function = target.split('?').next().unwrap();
        let is_named = |line: &&str| line.contains(&format!("function=\"{function}\"")) && line.contains(kind);
        let named = log.lines().filter(|line| line.contains("a function failed")).find(is_named);
        assert!(named.is_some(), "{function} with {kind} in\n{log}");
    }
    host.start("E1_HelloSequence", "healthy", "").await;
    host.output("healthy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_never_end_are_ended_and_delay_nobody() {
    let host = Host::builder().set("extensions.soloist.guestCpuMilliseconds", "1500").start().await;
    host.start("Spin", "spins", "").await;
    endure(&host, &[("HttpSpin", "CpuLimitExceeded"); 4]).await;
    let failed = host.wait_for_status("spins", "Failed").await;
    let output = failed["output"].as_str().unwrap();
    assert!(
        output.starts_with("Orchestrator function 'Spin' failed: the call used more than 1500 ms of CPU time"),
        "{output}"
    );
    let log = host.log();
    assert!(log.lines().any(|line| line.contains("function=\"Spin\"") && line.contains("spin_for_ever")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_take_too_much_of_anything_fail_alone() {
    let host = Host::start_default().await;
    endure(
        &host,
        &[
            ("HttpOom", "MemoryLimitExceeded"),
            ("HttpRecurse", "StackOverflow"),
            ("HttpPanic?n=42", "boom 42"),
            // Over the default limit of 100 MiB.
            ("HttpBig?bytes=209715200", "ResponseTooLarge"),
        ],
    )
    .await;
    let big = host.get("/api/HttpBig?bytes=10000000").await;
    assert_eq!((big.status, big.body.len()), (200, 10_000_000));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let host = Host::start_default().await;
    let address = host.address();
    let reply = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let length = (100 << 20) + 1;
        write!(stream, "POST /api/echo/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n").unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        String::from_utf8(start.to_vec()).unwrap()
    });
    assert_eq!(reply.await.unwrap(), "HTTP/1.1 413");
    assert_eq!(host.post("/api/echo/x", vec![b'x'; 1 << 20]).await.status, 200);
}

#[tokio::test]
async fn the_limit_of_a_body_is_a_setting() {
    let host = Host::builder().set("extensions.soloist.maxRequestBytes", "1000").start().await;
    assert_eq!(host.post("/api/echo/x", vec![b'x'; 1000]).await.status, 200);
    for target in ["/api/echo/x", "/api/orchestrators/Noop/a"] {
        let reply = host.post(target, vec![b'1'; 1001]).await;
        assert_eq!(reply.status, 413, "{reply:?}");
    }
    assert!(host.list("").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_guest_and_are_then_told_to_come_back() {
    let builder = Host::builder().set("extensions.soloist.maxConcurrentGuests", "1");
    let builder = builder.set("extensions.soloist.requestQueueSeconds", "1");
    let host = builder.set("extensions.soloist.guestCpuMilliseconds", "3000").start().await;
    let client = host.client();
    let spin = tokio::spawn(async move { client.get("/api/HttpSpin").await });
    let (waited, refused) = eventually("the only guest is busy", || async {
        let began = Instant::now();
        let reply = host.get("/api/echo/x").await;
        (reply.status == 429).then(|| (began.elapsed(), reply))
    })
    .await;
    assert_eq!(refused.header("retry-after"), "1");
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_eq!(spin.await.unwrap().status, 500);
    assert_eq!(host.get("/api/echo/x").await.status, 200);
}
