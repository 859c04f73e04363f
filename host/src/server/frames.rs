//! Looks on while HTTP/2 frames come in: is the peer in the midst of something that others wait for?
//!
//! The frames' meaning is hyper's. What it does not bound is time: a header block may come in as many pieces, as slowly as a
//! peer likes, and holds the whole connection up. Data is not watched: each body has its own pace.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What has come of the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameWatch(Mutex<Frames>);

#[derive(Debug)]
struct Frames {
    /// What is still to come of the preface.
    preface: usize,
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    /// What is still to come of the frame.
    payload: usize,
    /// A header block is begun, and its last frame has not begun yet.
    block_is_open: bool,
    /// Since when something is owed without pause.
    owed_since: Option<Instant>,
}

impl FrameWatch {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Frames {
            preface: PREFACE_BYTES,
            header: [0; HEADER_BYTES],
            header_bytes: 0,
            payload: 0,
            block_is_open: false,
            owed_since: None,
        }))
    }

    /// Bytes came in.
    pub(super) fn read(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(bytes);
    }

    /// For how long the rest of a preface, a frame other than data, or a header block has been owed.
    pub(super) fn owed_for(&self) -> Duration {
        let frames = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frames.owed_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8]) {
        let skip = |left: &mut usize, bytes: &mut &[u8]| {
            let skipped = (*left).min(bytes.len());
            *left -= skipped;
            *bytes = &bytes[skipped..];
        };
        while !bytes.is_empty() {
            if self.preface > 0 {
                skip(&mut self.preface, &mut bytes);
            } else if self.payload > 0 {
                skip(&mut self.payload, &mut bytes);
            } else {
                self.header[self.header_bytes] = bytes[0];
                self.header_bytes += 1;
                bytes = &bytes[1..];
                if self.header_bytes == HEADER_BYTES {
                    self.begin_frame();
                }
            }
            if !self.is_owed() {
                self.owed_since = None;
            }
        }
        if self.is_owed() {
            self.owed_since.get_or_insert_with(Instant::now);
        }
    }

    fn begin_frame(&mut self) {
        self.header_bytes = 0;
        self.payload = u32::from_be_bytes([0, self.header[0], self.header[1], self.header[2]]) as usize;
        let (kind, flags) = (self.header[3], self.header[4]);
        self.block_is_open = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
    }

    fn is_owed(&self) -> bool {
        let in_data = self.payload > 0 && self.header[3] == DATA && self.header_bytes == 0;
        let in_frame = self.header_bytes > 0 || self.payload > 0;
        self.preface > 0 || self.block_is_open || (in_frame && !in_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, length as u8, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![b'x'; length]);
        frame
    }

    async fn owed_after(frames: &[u8], piece: usize) -> Duration {
        let watch = FrameWatch::new();
        watch.read(&[b'p'; PREFACE_BYTES]);
        for piece in frames.chunks(piece) {
            watch.read(piece);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        watch.owed_for()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_holds_up_the_connection_is_owed() {
        let whole = [frame(4, 0, 6), frame(HEADERS, END_HEADERS, 5), frame(DATA, 0, 30)].concat();
        for piece in [1, 2, 7, 100] {
            assert_eq!(owed_after(&whole, piece).await, Duration::ZERO, "{piece}");
        }
        assert_eq!(owed_after(&whole[..whole.len() - 1], 1).await, Duration::ZERO, "a body has its own pace");
        let block = [frame(HEADERS, 0, 2), frame(CONTINUATION, 0, 2), frame(CONTINUATION, 0, 0)].concat();
        assert_eq!(owed_after(&block, 1).await.as_secs(), block.len() as u64, "a drip does not begin it anew");
        assert_eq!(owed_after(&frame(6, 0, 8)[..12], 1).await.as_secs(), 12);
        assert!(FrameWatch::new().owed_for() == Duration::ZERO, "nothing was begun");
    }
}
