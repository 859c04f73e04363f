//! What guests print: line by line into the log, bounded, silent while replaying; the end of stderr is kept, for that is
//! where a panic's message goes.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::body::Bytes;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::contract::imports::log::Level;

/// How much one call may print into the log.
const LOG_BYTES_MAX: usize = 64 << 10;
/// How much of stderr's end is kept.
const TAIL_BYTES: usize = 8 << 10;
/// A line longer than this is broken.
const LINE_BYTES_MAX: usize = 4 << 10;

/// One guest's output.
#[derive(Debug)]
pub(super) struct Console {
    function: Arc<str>,
    instance_id: Arc<str>,
    silent: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    logged: usize,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: Vec<u8>,
    /// What was written to stderr since the last panic began, up to [`TAIL_BYTES`]: a long message's head says most.
    panic: Option<Vec<u8>>,
}

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output: logged as information.
    Out,
    /// Standard error: logged as a warning.
    Err,
}

impl Console {
    /// The output of a guest that runs `function` for `instance_id` (for an HTTP call: the invocation's id).
    pub(super) fn new(function: Arc<str>, instance_id: Arc<str>) -> Self {
        Self { function, instance_id, silent: AtomicBool::new(false), state: Mutex::default() }
    }

    /// The function that runs.
    pub(super) fn function(&self) -> &str {
        &self.function
    }

    /// For whom it runs.
    pub(super) fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// Begins a call: its share of the log is full again; a silent call's output is dropped.
    pub(super) fn begin_call(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
        self.lock().logged = 0;
    }

    /// The end of stderr.
    pub(super) fn stderr_tail(&self) -> String {
        String::from_utf8_lossy(&self.lock().tail).trim_end().to_owned()
    }

    /// The message of a Rust panic, if stderr ends with one.
    pub(super) fn panic_message(&self) -> Option<String> {
        let report = String::from_utf8_lossy(self.lock().panic.as_ref()?).into_owned();
        let message = report.split_once('\n').map_or("", |(_place, message)| message);
        let end = message.find("\nnote: run with `RUST_BACKTRACE").unwrap_or(message.len());
        Some(message[..end].trim_end().to_owned())
    }

    /// Writes a line of the contract's `log` interface.
    pub(super) fn line(&self, level: Level, message: &str) {
        if !self.silent.load(Ordering::Relaxed) {
            let mut state = self.lock();
            self.emit(&mut state, level, message);
        }
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut state = self.lock();
        if stream == Stream::Err {
            keep_tail(&mut state.tail, bytes);
            keep_panic(&mut state.panic, bytes);
        }
        if self.silent.load(Ordering::Relaxed) {
            return;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let line = match stream {
                Stream::Out => &mut state.stdout,
                Stream::Err => &mut state.stderr,
            };
            line.extend_from_slice(&piece[..piece.len().min(LINE_BYTES_MAX)]);
            if piece.ends_with(b"\n") || line.len() >= LINE_BYTES_MAX {
                let line = std::mem::take(line);
                self.emit_bytes(&mut state, stream, &line);
            }
        }
    }

    /// Logs what was printed without a line's end.
    pub(super) fn flush(&self) {
        let mut state = self.lock();
        for stream in [Stream::Out, Stream::Err] {
            let rest = std::mem::take(match stream {
                Stream::Out => &mut state.stdout,
                Stream::Err => &mut state.stderr,
            });
            if !rest.is_empty() {
                self.emit_bytes(&mut state, stream, &rest);
            }
        }
    }

    fn emit_bytes(&self, state: &mut State, stream: Stream, line: &[u8]) {
        let level = match stream {
            Stream::Out => Level::Info,
            Stream::Err => Level::Warn,
        };
        let line = String::from_utf8_lossy(line);
        if !line.trim().is_empty() {
            self.emit(state, level, line.trim_end());
        }
    }

    fn emit(&self, state: &mut State, level: Level, message: &str) {
        if state.logged > LOG_BYTES_MAX {
            return;
        }
        state.logged += message.len() + 1;
        let message = if state.logged > LOG_BYTES_MAX { "… truncated" } else { message };
        let (function, instance_id) = (&*self.function, &*self.instance_id);
        match level {
            Level::Trace => tracing::trace!(target: "soloist::guest", function, instance_id, "{message}"),
            Level::Debug => tracing::debug!(target: "soloist::guest", function, instance_id, "{message}"),
            Level::Info => tracing::info!(target: "soloist::guest", function, instance_id, "{message}"),
            Level::Warn => tracing::warn!(target: "soloist::guest", function, instance_id, "{message}"),
            Level::Error => tracing::error!(target: "soloist::guest", function, instance_id, "{message}"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the head of the last panic's report.
fn keep_panic(panic: &mut Option<Vec<u8>>, bytes: &[u8]) {
    const MARK: &[u8] = b"panicked at ";
    let begin = bytes.windows(MARK.len()).rposition(|window| window == MARK);
    let bytes = match (begin, panic.as_ref()) {
        (Some(begin), _) => {
            *panic = Some(Vec::new());
            &bytes[begin..]
        }
        (None, Some(_)) => bytes,
        (None, None) => return,
    };
    if let Some(report) = panic {
        let room = TAIL_BYTES.saturating_sub(report.len());
        report.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

fn keep_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
    let surplus = tail.len().saturating_sub(TAIL_BYTES);
    tail.drain(..surplus);
}

/// A console's stream, as WASI wants it. Always ready: a guest never waits for the log.
#[derive(Clone, Debug)]
pub(super) struct ConsoleStream(pub(super) Arc<Console>, pub(super) Stream);

impl IsTerminal for ConsoleStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for ConsoleStream {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for ConsoleStream {
    async fn ready(&mut self) {}
}

impl OutputStream for ConsoleStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(self.1, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl tokio::io::AsyncWrite for ConsoleStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.write(self.1, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console() -> Console {
        Console::new("Boom".into(), "i".into())
    }

    #[test]
    fn a_panics_message_is_found_at_the_end_of_stderr() {
        let console = console();
        assert_eq!(console.panic_message(), None);
        console.write(
            Stream::Err,
            b"warming up\n\nthread '<unnamed>' (1) panicked at src/lib.rs:7:5:\nboom 7\nsecond line\n\
              note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
        );
        assert_eq!(console.panic_message().as_deref(), Some("boom 7\nsecond line"));
        console
            .write(Stream::Err, format!("thread 'x' panicked at a.rs:1:2:\nhead {}", "y".repeat(200_000)).as_bytes());
        assert!(console.panic_message().unwrap().starts_with("head yyy"), "a long message keeps its head");
    }

    #[test]
    fn only_the_end_of_stderr_is_kept_even_while_silent() {
        let console = console();
        console.begin_call(true);
        console.write(Stream::Err, &[b'x'; 100 << 10]);
        console.write(Stream::Err, b"end");
        assert_eq!(console.stderr_tail().len(), TAIL_BYTES);
        assert!(console.stderr_tail().ends_with("xend"));
    }

    #[test]
    fn what_a_call_prints_into_the_log_is_bounded() {
        let console = console();
        for _ in 0..1_000 {
            console.write(Stream::Out, &[&[b'x'; 1 << 10][..], b"\n"].concat());
        }
        assert!(console.lock().logged <= LOG_BYTES_MAX + LINE_BYTES_MAX);
        console.begin_call(false);
        assert_eq!(console.lock().logged, 0);
    }
}
