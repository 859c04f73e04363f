//! Whether the process lives, and whether it can work.

use http::{Method, StatusCode};
use tracing::warn;

use super::Admin;
use crate::hub::StatusQuery;
use crate::server::error::ApiError;
use crate::server::json_text::JsonObject;
use crate::server::reply::{self, Reply};

impl Admin {
    /// Answers a request below `/runtime/health`. No key is asked for: what watches a process has none.
    pub(in crate::server) async fn health(&self, method: &Method, tail: &str) -> Result<Reply, ApiError> {
        let tail = tail.strip_suffix('/').unwrap_or(tail);
        if method != Method::GET && method != Method::HEAD {
            return Err(ApiError::not_found());
        }
        if tail.eq_ignore_ascii_case("/live") {
            return Ok(answer(true));
        }
        if tail.eq_ignore_ascii_case("/ready") {
            let read = self.client.list(StatusQuery { top: Some(1), ..StatusQuery::default() }).await;
            return Ok(answer(read.inspect_err(|error| warn!(%error, "not ready: storage cannot be read")).is_ok()));
        }
        Err(ApiError::not_found())
    }
}

fn answer(is_healthy: bool) -> Reply {
    let (status, text) =
        if is_healthy { (StatusCode::OK, "Healthy") } else { (StatusCode::SERVICE_UNAVAILABLE, "Unhealthy") };
    reply::json(status, JsonObject::new().string("status", text).finish())
}
