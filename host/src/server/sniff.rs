//! Which protocol a connection speaks, from its first bytes.

use std::io;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// What every HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read at once. Most requests fit.
const READ_BYTES: usize = 2 << 10;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What was read until the protocol was known.
#[derive(Debug)]
pub(super) struct Sniffed {
    pub protocol: Protocol,
    pub bytes: Bytes,
    /// When the first of them came.
    pub since: Instant,
}

/// Reads until it is clear what a connection speaks: `idle` until something comes, `head` for the rest. None if the connection
/// ended first, or brought nothing in time.
pub(super) async fn sniff<S>(stream: &mut S, idle: Duration, head: Duration) -> io::Result<Option<Sniffed>>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    let mut since = Instant::now();
    let mut deadline = since + idle;
    loop {
        let Ok(read) = timeout_at(deadline, read(stream, &mut buffer[filled..])).await else {
            // Half a preface may as well be half a request: whoever serves it says so.
            let is_begun = filled > 0;
            return Ok(is_begun.then(|| sniffed(Protocol::Http1, buffer, filled, since)));
        };
        let read = read?;
        if filled == 0 {
            since = Instant::now();
            deadline = since + head;
        }
        filled += read;
        let common = filled.min(PREFACE.len());
        if buffer[..common] != PREFACE[..common] {
            return Ok(Some(sniffed(Protocol::Http1, buffer, filled, since)));
        }
        if common == PREFACE.len() {
            return Ok(Some(sniffed(Protocol::Http2, buffer, filled, since)));
        }
        if read == 0 {
            return Ok((filled > 0).then(|| sniffed(Protocol::Http1, buffer, filled, since)));
        }
    }
}

fn sniffed(protocol: Protocol, mut buffer: Vec<u8>, filled: usize, since: Instant) -> Sniffed {
    buffer.truncate(filled);
    Sniffed { protocol, bytes: buffer.into(), since }
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> io::Result<usize> {
    let mut buffer = ReadBuf::new(buffer);
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_read(context, &mut buffer)).await?;
    Ok(buffer.filled().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(bytes: &[u8]) -> Option<(Protocol, usize)> {
        let mut bytes = bytes;
        let sniffed = sniff(&mut bytes, Duration::from_secs(1), Duration::from_secs(1)).await.unwrap()?;
        Some((sniffed.protocol, sniffed.bytes.len()))
    }

    #[tokio::test]
    async fn only_the_whole_preface_is_http_2() {
        assert_eq!(told(PREFACE).await, Some((Protocol::Http2, 24)));
        assert_eq!(told(&[PREFACE, b"more"].concat()).await, Some((Protocol::Http2, 28)));
        assert_eq!(told(b"GET / HTTP/1.1\r\n").await, Some((Protocol::Http1, 16)));
        assert_eq!(told(b"P").await, Some((Protocol::Http1, 1)), "the end of the stream decides");
        assert_eq!(told(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r").await, Some((Protocol::Http1, 23)));
        assert_eq!(told(b"PRI * HTTP/2.0\r\n\r\nxx").await, Some((Protocol::Http1, 20)));
        assert_eq!(told(b"").await, None);
    }
}
