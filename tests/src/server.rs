//! A server on this machine, for what functions send.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

/// What a server says to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// These bytes, and the end of the connection.
    Bytes(String),
    /// A body that never ends.
    Endless,
    /// Nothing.
    Silence,
}

impl Answer {
    /// 200 with this text.
    pub fn ok(text: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()))
    }

    /// 503.
    pub fn unavailable() -> Self {
        Self::Bytes("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".into())
    }

    /// A redirect to this URL.
    pub fn redirect(url: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\n\r\n"))
    }
}

/// A server on a free port of 127.0.0.1, that notes every request's head. It ends with the value.
#[derive(Debug)]
pub struct Server {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Answer>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers every request so.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = heads.clone();
        let answer = Arc::new(Mutex::new(answer));
        let said = answer.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, noted) = (said.lock().expect("nobody panics with the lock").clone(), noted.clone());
                tokio::spawn(async move { serve(stream, &answer, &noted).await });
            }
        });
        Self { port, heads, answer, task }
    }

    /// Answers every further request so.
    ///
    /// # Panics
    /// Never.
    pub fn say(&self, answer: Answer) {
        *self.answer.lock().expect("nobody panics with the lock") = answer;
    }

    /// `http://127.0.0.1:<port>/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address())
    }

    /// `127.0.0.1:<port>`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The heads of the requests so far.
    ///
    /// # Panics
    /// Never.
    pub fn requests(&self) -> Vec<String> {
        self.heads.lock().expect("nobody panics with the lock").clone()
    }
}

/// Serves one request of a connection; a client that goes away ends it.
pub async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &Answer, heads: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    heads.lock().expect("nobody panics with the lock").push(String::from_utf8_lossy(&head).into_owned());
    match answer {
        Answer::Bytes(bytes) => {
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Answer::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            while stream.write_all(piece.as_bytes()).await.is_ok() {}
        }
        // Until the client goes away.
        Answer::Silence => drop(stream.read_u8().await),
    }
}
