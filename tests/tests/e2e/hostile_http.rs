//! Hostile bytes by the hundred (`SOLOIST_TEST_HOSTILE` says how many of each kind; tens of thousands are no more than a matter
//! of time): each ends in a 4xx or a closed connection, and leaves nothing behind.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use soloist_tests::Host;

/// Clients at a time.
const CLIENTS: usize = 16;
/// Longer than any limit of the host's: what takes longer hangs.
const HANG: Duration = Duration::from_secs(60);
/// What no log may show.
const SECRET: &str = "s3cret-that-nobody-may-log";

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }
}

/// What a client does, and how it may end.
struct Kind {
    name: &'static str,
    bytes: fn(&mut Dice) -> Vec<u8>,
    /// Some of them may be harmless, and then answered.
    may_succeed: bool,
}

const KINDS: &[Kind] = &[
    Kind { name: "malformed", bytes: malformed, may_succeed: false },
    Kind { name: "mutated", bytes: mutated, may_succeed: true },
    Kind { name: "smuggled", bytes: smuggled, may_succeed: false },
    Kind { name: "oversized", bytes: oversized, may_succeed: false },
    Kind { name: "traversing", bytes: traversing, may_succeed: false },
    Kind { name: "wrong keys", bytes: wrong_keys, may_succeed: false },
    Kind { name: "HTTP/2 noise", bytes: http2_noise, may_succeed: true },
];

fn malformed(dice: &mut Dice) -> Vec<u8> {
    let all: &[&[u8]] = &[
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1 x\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: evil.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nspace before : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\x00: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\x1b[31mb\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\rb\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: a\r\n folded\r\n\r\n",
        b"GET /\x1b[2J HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET \x00 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT evil.test:443 HTTP/1.1\r\nhost: evil.test:443\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x00",
        b"\r\n\r\n\r\nGET",
    ];
    dice.pick(all).to_vec()
}

fn mutated(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = format!(
        "POST /api/echo/a%20b?q=1&q=2 HTTP/1.1\r\nhost: localhost\r\nx-functions-key: {SECRET}\r\ncontent-type: text/plain\r\n\
         transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\ntrailer: x\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..=dice.roll(8) {
        let at = dice.roll(bytes.len());
        match dice.roll(4) {
            0 if bytes.len() > 1 => drop(bytes.remove(at)),
            1 => bytes.insert(at, dice.roll(256) as u8),
            2 => bytes[at] = dice.roll(256) as u8,
            _ => bytes.truncate(bytes.len().min(at + 40)),
        }
    }
    bytes
}

fn smuggled(dice: &mut Dice) -> Vec<u8> {
    let framings: &[&str] = &[
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: -5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5 \u{b}\r\n",
        "content-length: 99999999999999999999999\r\n",
        "content-length : 5\r\n",
        "transfer-encoding : chunked\r\n",
        " transfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: chunkedx\r\n",
        "transfer-encoding: x\r\ncontent-length: 5\r\n",
        "x: y\r\n transfer-encoding: chunked\r\n",
        "transfer-encoding\0: chunked\r\n",
        "content-length: 5\ntransfer-encoding: chunked, x\r\n",
    ];
    let chunked: &[&str] = &[
        "zz\r\n",
        "-1\r\n",
        "5\nhello\n0\n\n",
        "fffffffffffffffff\r\nx",
        "5\r\nhelloXX0\r\n\r\n",
        "5;\nx\r\nhello\r\n0\r\n\r\n",
    ];
    let hidden = "GET /runtime/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let head = "POST /api/nothing HTTP/1.1\r\nhost: localhost\r\n";
    match dice.roll(3) {
        0 => format!(
            "POST /api/echo/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{}{hidden}",
            dice.pick(chunked)
        ),
        1 => format!("{head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        _ => format!("{head}{}\r\n{hidden}", dice.pick(framings)),
    }
    .into_bytes()
}

fn oversized(dice: &mut Dice) -> Vec<u8> {
    let long = "x".repeat(70_000 + dice.roll(60_000));
    match dice.roll(6) {
        0 => format!("GET /{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        1 => format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"),
        2 => format!("GET / HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(2000)),
        3 => format!("GET / HTTP/1.1\r\nhost: localhost\r\n{long}: y\r\n\r\n"),
        4 => "POST /api/echo/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\nx".to_owned(),
        _ => {
            let chunk = format!("4e20\r\n{}\r\n", "x".repeat(20_000));
            format!(
                "POST /api/echo/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{}",
                chunk.repeat(8)
            )
        }
    }
    .into_bytes()
}

fn traversing(dice: &mut Dice) -> Vec<u8> {
    let paths: &[&str] = &[
        "/api/../admin/host/keys",
        "/api/%2e%2e/admin/host/keys",
        "/api/..%2fadmin%2fhost%2fkeys",
        "/%61dmin/host/keys/../keys",
        "//admin/host/keys",
        "/./admin/host/keys",
        "/admin%2fhost%2fkeys",
        "/admin/host/keys%00.json",
        "/admin/../../../../etc/passwd",
        "/..%5c..%5cwindows",
        "/runtime/rpc/../rpc/0000/durabletask/instances",
        "/runtime/webhooks/durabletask/instances/..%2f..%2f",
        "/runtime/webhooks/durabletask/instances/%0d%0aset-cookie:x",
        "/runtime/webhooks/durabletask/instances/%1b%5b2J",
        "/%c0%ae%c0%ae/etc/passwd",
        "/%ff%fe",
        "/host.json",
        "/.soloist/keys.json",
    ];
    let method = dice.pick(&["GET", "POST", "DELETE", "PUT"]);
    format!("{method} {} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n", dice.pick(paths)).into_bytes()
}

fn wrong_keys(dice: &mut Dice) -> Vec<u8> {
    let path = dice.pick(&[
        "/admin/host/keys",
        "/admin/functions",
        "/runtime/webhooks/durabletask/instances",
        "/runtime/webhooks/durabletask/orchestrators/Noop",
        "/runtime/rpc/s3cret-that-nobody-may-log/durabletask/instances",
    ]);
    let key = format!("{SECRET}{}", dice.roll(1 << 30));
    match dice.roll(4) {
        0 => format!("POST {path}?code={key} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        1 => format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-functions-key: {key}\r\n\r\n"),
        2 => format!("GET {path}?code={key}&code={key} HTTP/1.1\r\nhost: localhost\r\nx-functions-key: \u{e9}\r\n\r\n"),
        _ => format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\norigin: http://evil.test\r\n\r\n"
        ),
    }
    .into_bytes()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Rapid resets, settings, pings, continuations without end, and frames of random bytes.
fn http2_noise(dice: &mut Dice) -> Vec<u8> {
    const GET: &[u8] = b"\x82\x86\x84\x41\x09localhost";
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    let count = 50 + dice.roll(500) as u32;
    match dice.roll(6) {
        0 => (0..count).for_each(|n| {
            bytes.extend(frame(1, 5, 2 * n + 1, GET));
            bytes.extend(frame(3, 0, 2 * n + 1, &[0, 0, 0, 8]));
        }),
        1 => (0..count).for_each(|n| bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, (n >> 8) as u8, n as u8]))),
        2 => (0..count).for_each(|_| bytes.extend(frame(6, 0, 0, &[7; 8]))),
        3 => {
            bytes.extend(frame(1, 0, 1, GET));
            (0..count).for_each(|_| bytes.extend(frame(9, 0, 1, b"\x00\x01x\x7f\x81\x0f")));
        }
        4 => (0..count).for_each(|n| bytes.extend(frame(1, 4, 2 * n + 1, GET))),
        _ => (0..count).for_each(|_| {
            let payload: Vec<u8> = (0..dice.roll(60)).map(|_| dice.roll(256) as u8).collect();
            bytes.extend(frame(dice.roll(12) as u8, dice.roll(256) as u8, dice.roll(9) as u32, &payload));
        }),
    }
    bytes
}

/// What a host answered: the status of each response over HTTP/1, nothing for a closed connection.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.match_indices("HTTP/1.").map(|(at, _)| &text[at..]);
    lines.filter_map(|line| line.split(' ').nth(1)?.parse().ok()).collect()
}

fn read_to_end(stream: &mut TcpStream, what: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("{what} hangs; so far: {:?}", String::from_utf8_lossy(&answer));
        }
        // A reset is an end, too.
        Ok(_) | Err(_) => answer,
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.set_write_timeout(Some(HANG)).unwrap();
    stream
}

/// Closes with a reset.
fn abort(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the option's value is valid for the call, and the descriptor is open.
    unsafe {
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
    };
}

fn attack(address: &str, kind: &Kind, number: usize, ends: &Mutex<Vec<String>>) {
    let mut dice = Dice(number as u64 * 7919 + kind.name.len() as u64);
    let bytes = (kind.bytes)(&mut dice);
    let shown = || format!("{} {number}: {:?}", kind.name, String::from_utf8_lossy(&bytes[..bytes.len().min(300)]));
    let mut stream = connect(address);
    // One in eight is gone before it is answered.
    if dice.roll(8) == 0 {
        let _ = stream.write_all(&bytes[..dice.roll(bytes.len())]);
        return abort(stream);
    }
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let answer = read_to_end(&mut stream, &shown());
    let statuses = statuses(&answer);
    let is_bad = |status: &u16| *status >= 500 || (*status < 400 && !kind.may_succeed);
    if statuses.iter().any(is_bad) || (kind.name == "smuggled" && statuses.len() > 1) {
        ends.lock().unwrap().push(format!("{statuses:?} for {}", shown()));
    }
    assert!(!String::from_utf8_lossy(&answer).contains(SECRET) || kind.may_succeed, "{}", shown());
}

/// So many clients who begin and do not go on, all at once.
fn slow(address: &str, count: usize) {
    let begun: &[&[u8]] = &[
        b"GET / HTT",
        b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ",
        b"POST /api/echo/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\nx",
        b"POST /api/echo/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x0c\x01\x00\x00\x00\x00\x01\x82",
    ];
    let began = Instant::now();
    let mut streams: Vec<TcpStream> = (0..count).map(|_| connect(address)).collect();
    for (index, stream) in streams.iter_mut().enumerate() {
        let _ = stream.write_all(begun[index % begun.len()]);
    }
    // A drip changes nothing.
    while began.elapsed() < Duration::from_secs(8) {
        std::thread::sleep(Duration::from_millis(500));
        for stream in &mut streams {
            let _ = stream.write_all(b"x");
        }
    }
    for (index, mut stream) in streams.into_iter().enumerate() {
        let what = format!("slow {index}");
        let statuses = statuses(&read_to_end(&mut stream, &what));
        assert!(statuses.iter().all(|status| (400..500).contains(status)), "{what}: {statuses:?}");
    }
    assert!(began.elapsed() < HANG, "{:?}", began.elapsed());
}

fn memory_kib(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn attacks(address: &str, count: usize) {
    for kind in KINDS {
        let (next, ends, began) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return;
                        }
                        attack(address, kind, number, &ends);
                    }
                });
            }
        });
        let ends = ends.into_inner().unwrap();
        println!("{count} {} in {:?}, {} ended badly", kind.name, began.elapsed(), ends.len());
        assert!(ends.is_empty(), "{} ended badly, such as\n{}", ends.len(), ends[..ends.len().min(5)].join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_end_in_a_refusal_and_leave_nothing_behind() {
    let count: usize = std::env::var("SOLOIST_TEST_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let builder = Host::builder().with_keys().argument("--log-level").argument("debug");
    let host = builder.set("extensions.soloist.maxRequestBytes", "100000").start().await;
    let (address, pid) = (host.address(), host.pid());
    let client = host.client();
    let warm = {
        let address = address.clone();
        tokio::task::spawn_blocking(move || attacks(&address, CLIENTS * 4))
    };
    warm.await.unwrap();
    let (memory, open) = (memory_kib(pid), files(pid));
    let all = {
        let address = address.clone();
        tokio::task::spawn_blocking(move || {
            attacks(&address, count);
            slow(&address, count.min(3000));
        })
    };
    all.await.unwrap();
    let deadline = Instant::now() + HANG;
    while files(pid) > open + 4 {
        assert!(Instant::now() < deadline, "{} files are open, {open} were before", files(pid));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let grown = memory_kib(pid).saturating_sub(memory);
    println!("memory: {memory} KiB before, {grown} KiB more after; files: {open} before, {} after", files(pid));
    assert!(grown < 64 << 10, "{grown} KiB more than before");
    let alive = client.get("/runtime/health/ready").await;
    assert_eq!(alive.status, 200);
    assert_eq!(client.get("/api/echo/neighbour").await.status, 200);
    let log = fs::read(host.log_file()).unwrap();
    let raw = log.iter().find(|byte| byte.is_ascii_control() && **byte != b'\n');
    assert_eq!(raw, None, "a raw control character is in the log");
    let log = String::from_utf8_lossy(&log);
    let keys = [host.key("master _master"), host.key("system durabletask_extension"), SECRET.to_owned()];
    for (index, key) in keys.iter().enumerate() {
        let line = log.lines().find(|line| line.contains(key.as_str()));
        assert_eq!(line, None, "secret {index} is in the log");
    }
    assert!(!log.contains("panicked") && log.contains("request answered"), "{}", &log[log.len() - 2000..]);
}
