//! HTTP triggers: one request in, one response out, both buffered. And requests to others: [`Client`].
//!
//! - `request`: what came in
//! - `response`: what goes out
//! - `error`: how errors become responses
//! - `client`: requests to other services, and `wire`, how they leave

mod client;
mod error;
mod request;
mod response;
mod wire;

pub use client::{Client, RequestBuilder, RequestError, Response, get, post};
pub use error::{HttpError, HttpResult};
pub use request::{BadRequest, HttpRequest};
pub use response::HttpResponse;
