//! HTTP triggers: one request in, one response out, both buffered.
//!
//! - [`request`]: what came in
//! - [`response`]: what goes out
//! - [`error`]: how errors become responses

mod error;
mod request;
mod response;

pub use error::{HttpError, HttpResult};
pub use request::{BadRequest, HttpRequest};
pub use response::HttpResponse;
