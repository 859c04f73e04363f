//! A function that knows nothing of Soloist: made with wstd, it exports `wasi:http/incoming-handler` and nothing else. What it
//! does is the last segment of its path.

use std::convert::Infallible;

use futures::stream;
use wstd::http::body::{Body, Bytes};
use wstd::http::{Client, Error, Method, Request, Response, StatusCode};
use wstd::time::Duration;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    let number = request.uri().query().and_then(|query| query.parse::<u64>().ok()).unwrap_or(0);
    match path.rsplit('/').next().unwrap_or_default() {
        // Sends each piece back as it comes.
        "echo" => Ok(Response::new(request.into_body())),
        // Reads everything first.
        "length" => {
            let mut body = request.into_body();
            let length = body.contents().await?.len();
            Ok(Response::new(length.to_string().into()))
        }
        "seen" => {
            let mut lines = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                lines += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
            }
            let head = if request.method() == Method::HEAD { StatusCode::ACCEPTED } else { StatusCode::OK };
            let response = Response::builder().status(head).header("set-cookie", "a=1").header("set-cookie", "b=2");
            Ok(response.body(lines.into())?)
        }
        // So many lines, one every tenth of a second.
        "lines" => {
            let lines = stream::unfold(0, move |line| async move {
                if line == number {
                    return None;
                }
                wstd::task::sleep(Duration::from_millis(100)).await;
                Some((Ok::<_, Infallible>(Bytes::from(format!("line {line}\n"))), line + 1))
            });
            Ok(Response::new(Body::from_try_stream(lines)))
        }
        // So many pieces of 64 KiB, counted in the log.
        "pieces" => {
            let pieces = stream::unfold(0, move |piece| async move {
                if piece == number {
                    return None;
                }
                if piece % 16 == 0 {
                    println!("made {} MiB", piece / 16);
                }
                Some((Ok::<_, Infallible>(Bytes::from(vec![b'x'; 64 << 10])), piece + 1))
            });
            Ok(Response::new(Body::from_try_stream(pieces)))
        }
        "panics" => panic!("asked to"),
        "breaks" => {
            let pieces = stream::unfold(0, |piece| async move {
                assert!(piece < 2, "asked to break");
                wstd::task::sleep(Duration::from_millis(50)).await;
                Some((Ok::<_, Infallible>(Bytes::from("piece\n")), piece + 1))
            });
            Ok(Response::new(Body::from_try_stream(pieces)))
        }
        "spins" => loop {
            std::hint::black_box(&path);
        },
        "hoards" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        "none" => Ok(Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty())?),
        "fails" => Err(Error::msg("asked to")),
        "sleeps" => {
            println!("asleep");
            wstd::task::sleep(Duration::from_secs(number)).await;
            println!("awake");
            Ok(Response::new("slept".to_owned().into()))
        }
        // Sends a request to the URL in the body.
        "fetches" => {
            let mut body = request.into_body();
            let url = body.str_contents().await?.to_owned();
            let answer = Client::new().send(Request::get(url).body(Body::empty())?).await;
            Ok(Response::new(match answer {
                Ok(answer) => answer.into_body(),
                Err(error) => format!("refused: {error:#}").into(),
            }))
        }
        "environment" => Ok(Response::new(format!("{:?}", std::env::vars().collect::<Vec<_>>()).into())),
        _ => Ok(Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty())?),
    }
}
