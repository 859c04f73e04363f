//! A client of HTTP/1.1 that costs next to nothing, so that what is measured is the host: one connection, one request at a
//! time, responses that say their length.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A connection.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request without body.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn get(&mut self, path: &str) -> Result<Response> {
        self.send("GET", path, "").await
    }

    /// Sends a request with a JSON body.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn post(&mut self, path: &str, body: &str) -> Result<Response> {
        self.send("POST", path, body).await
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Response> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the host closed the connection during {method} {path}");
            }
            if let Some(response) = parse(&self.buffer)? {
                return Ok(response);
            }
        }
    }
}

/// The response, once all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<Response>> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("a response's head is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    let status = status.with_context(|| format!("not a response: {head:?}"))?;
    let body = &bytes[end + 4..];
    if body.len() < length.unwrap_or(0) {
        return Ok(None);
    }
    Ok(Some(Response { status, body: String::from_utf8_lossy(body).into_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_when_it_is_whole() {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nx: y\r\n\r\nhi";
        assert!(parse(&text[..20]).unwrap().is_none());
        assert!(parse(&text[..text.len() - 1]).unwrap().is_none());
        let response = parse(text).unwrap().unwrap();
        assert_eq!((response.status, response.body.as_str()), (202, "hi"));
        assert!(parse(b"nonsense\r\n\r\n").is_err());
    }
}
