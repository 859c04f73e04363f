//! A function without the SDK: an unmodified component that exports `wasi:http/incoming-handler`, made with wstd. It reads the
//! request while it comes and answers while it reads, so that a body of any length takes no memory.

use wstd::http::body::{Body, Bytes, util::BodyExt};
use wstd::http::{Error, Request, Response};

/// `POST lines`: sends the text in the body back, each line with its number.
#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let mut numbering = Numbering::default();
    let numbered = request
        .into_body()
        .into_boxed_body()
        .map_frame(move |frame| frame.map_data(|piece| Bytes::from(numbering.number(&piece))));
    let response = Response::builder().header("content-type", "text/plain; charset=utf-8");
    Ok(response.body(Body::from_http_body(numbered))?)
}

/// Numbers lines that come in pieces of any length.
#[derive(Default)]
struct Numbering {
    lines: u64,
    is_within_line: bool,
}

impl Numbering {
    fn number(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut numbered = Vec::with_capacity(piece.len() + 8);
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_within_line {
                self.lines += 1;
                numbered.extend(format!("{}: ", self.lines).into_bytes());
            }
            numbered.extend(line);
            self.is_within_line = !line.ends_with(b"\n");
        }
        numbered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_however_they_are_cut() {
        let text = b"one\ntwo\n\nfour";
        for length in 1..=text.len() {
            let mut numbering = Numbering::default();
            let numbered: Vec<u8> = text.chunks(length).flat_map(|piece| numbering.number(piece)).collect();
            assert_eq!(String::from_utf8_lossy(&numbered), "1: one\n2: two\n3: \n4: four", "{length}");
        }
    }
}
