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

/// Calls a well-behaved function until told to stop; returns how often it was answered by then.
async fn well_behaved_neighbour(client: Client, stop: Arc<AtomicBool>) -> usize {
    let mut answers = 0;
    loop {
        assert_eq!(client.get("/api/echo/neighbour").await.status, 200);
        if stop.load(Ordering::Relaxed) {
            return answers;
        }
        answers += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs hostile functions at once, and checks that each fails without telling why, is named in the log, and slows nobody: until
/// all have failed a neighbour is answered at least so often.
async fn endure(host: &Host, targets: &[(&str, &str)], least: usize) {
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
    let answers = neighbour.await.unwrap();
    println!("a neighbour was answered {answers} times");
    assert!(answers >= least, "a neighbour was answered {answers} times");
    for (target, kind) in targets {
        let function = target.split('?').next().unwrap();
        eventually(&format!("the log names {function} with {kind}"), || async {
            let log = host.log();
            let is_named = |line: &&str| line.contains(&format!("function=\"{function}\"")) && line.contains(kind);
            let named = log.lines().filter(|line| line.contains("a function failed")).find(is_named).is_some();
            if named { Ok(()) } else { Err(log) }
        })
        .await;
    }
    host.start("E1_HelloSequence", "healthy", "").await;
    host.output("healthy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_never_end_are_ended_and_delay_nobody() {
    let host = Host::builder().set("extensions.soloist.guestCpuMilliseconds", "1500").start().await;
    host.start("Spin", "spins", "").await;
    // Two for each of two cores. Where one that spins had a core for itself, and nobody else, there would be two or three answers.
    endure(&host, &[("HttpSpin", "CpuLimitExceeded"); 4], 10).await;
    let failed = host.wait_for_status("spins", "Failed").await;
    let output = failed["output"].as_str().unwrap();
    assert!(
        output.starts_with("Orchestrator function 'Spin' failed: the call used more than 1500 ms of CPU time"),
        "{output}"
    );
    eventually("the log tells where it was", || async {
        let log = host.log();
        let tells = |line: &str| line.contains("function=\"Spin\"") && line.contains("spin_for_ever");
        if log.lines().any(tells) { Ok(()) } else { Err(log) }
    })
    .await;
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
        0,
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
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
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
    let spin = tokio::spawn(async move {
        loop {
            let reply = client.get("/api/HttpSpin").await;
            // Refused while the request that looks below has the guest, on a machine where that lasts.
            if reply.status != 429 {
                return reply;
            }
        }
    });
    let (waited, refused) = eventually("the only guest is busy", || async {
        let began = Instant::now();
        let reply = host.get("/api/echo/x").await;
        (reply.status == 429).then(|| (began.elapsed(), reply))
    })
    .await;
    assert_eq!(refused.header("retry-after"), "1");
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_eq!(spin.await.unwrap().status, 500);
    eventually("the guest is free", || async { (host.get("/api/echo/x").await.status == 200).then_some(()) }).await;
}
