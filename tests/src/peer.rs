//! A small HTTP server for tests: what hosts call. It outlives the hosts that call it.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};

use crate::eventually;

/// A request that the peer got.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// When its head had been read.
    pub at: Instant,
}

impl Seen {
    /// The values of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// What the peer answers.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
    delay: Duration,
    hangs_up: bool,
}

impl Answer {
    /// An answer with this status and body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: String::new(), body: body.into(), delay: Duration::ZERO, hangs_up: false }
    }

    /// No answer: the connection is closed.
    pub fn hang_up() -> Self {
        Self { hangs_up: true, ..Self::new(0, "") }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// Answers so much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Handler = dyn Fn(&Seen, usize) -> Answer + Send + Sync;

/// A running server on a loopback port; dropping it ends it.
#[derive(Debug)]
pub struct Peer {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// A server that answers each request as `handler` says; its number, from 0, counts requests of the same target.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(handler: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (all, handler) = (seen.clone(), Arc::<Handler>::from(Box::new(handler) as Box<Handler>));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, all.clone(), handler.clone()));
            }
        });
        Self { port, seen, task }
    }

    /// A URL of it.
    pub fn url(&self, target: &str) -> String {
        format!("http://127.0.0.1:{}{target}", self.port)
    }

    /// The requests that it got for this target, in order.
    ///
    /// # Panics
    /// Never: no code panics while it holds the lock.
    pub fn seen(&self, target: &str) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").iter().filter(|seen| seen.target == target).cloned().collect()
    }

    /// Waits until it got so many requests for this target.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for(&self, target: &str, count: usize) -> impl Future<Output = Vec<Seen>> {
        let target = target.to_owned();
        async move {
            eventually(&format!("{count} requests for {target}"), || async {
                let seen = self.seen(&target);
                if seen.len() >= count { Ok(seen) } else { Err(seen) }
            })
            .await
        }
    }
}

async fn serve(stream: TcpStream, all: Arc<Mutex<Vec<Seen>>>, handler: Arc<Handler>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut request = lines.first()?.split(' ').map(str::to_owned);
    let (method, target) = (request.next()?, request.next()?);
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let at = Instant::now();
    stream.read_exact(&mut body).await.ok()?;
    let seen = Seen { method, target, headers, body, at };
    let number = {
        let mut all = all.lock().expect("not poisoned");
        all.push(seen.clone());
        all.iter().filter(|other| other.target == seen.target).count() - 1
    };
    let Answer { status, headers, body, delay, hangs_up } = handler(&seen, number);
    tokio::time::sleep(delay).await;
    if hangs_up {
        return None;
    }
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(&body).await.ok()?;
    stream.flush().await.ok()
}
