//! The host's own pages: `/admin`, for whoever has the master key, and `/runtime/health`, for whoever watches the process.

mod functions;
mod health;
mod host_keys;

use std::{future::Future, sync::Arc, time::Instant};

use http::{Method, StatusCode, request};
use percent_encoding::percent_decode_str;

pub use functions::{AppAdmin, FunctionInfo, InvokeError};

use super::access::Presented;
use super::body::{Body, BodyError};
use super::error::ApiError;
use super::json_text::{JsonObject, array};
use super::keys::{Demand, Keys};
use super::links::Origin;
use super::management::DurableClient;
use super::reply::{self, Reply};

/// Serves the host's own pages.
pub(super) struct Admin {
    app: Arc<dyn AppAdmin>,
    client: Arc<dyn DurableClient>,
    /// None: no keys are asked for.
    keys: Option<Arc<Keys>>,
    hub_name: String,
    /// Names this process.
    process_id: String,
    begun: Instant,
}

impl Admin {
    pub(super) fn new(
        app: Arc<dyn AppAdmin>,
        client: Arc<dyn DurableClient>,
        keys: Option<Arc<Keys>>,
        hub_name: String,
    ) -> Self {
        Self { app, client, keys, hub_name, process_id: uuid::Uuid::new_v4().to_string(), begun: Instant::now() }
    }

    /// Answers a request below `/admin`; `tail` is the rest of the path, still percent-encoded.
    pub(super) async fn handle(
        &self,
        parts: &request::Parts,
        tail: &str,
        origin: &Origin,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        let segments = segments(tail);
        let words: Vec<&str> = segments.iter().flatten().map(String::as_str).collect();
        let method = &parts.method;
        let is = |wanted: &[&str]| {
            words.len() == wanted.len()
                && words.iter().zip(wanted).all(|(word, wanted)| word.eq_ignore_ascii_case(wanted))
        };
        if is(&["host", "ping"]) && (method == Method::GET || method == Method::POST) {
            return Ok(reply::empty(StatusCode::OK));
        }
        // Before anything is looked up: a stranger learns of nothing whether it is there.
        if let Some(keys) = &self.keys
            && !Presented::by(parts).key().is_some_and(|key| keys.open_for(key, Demand::Admin))
        {
            return Err(ApiError::unauthorized());
        }
        match (method, words.as_slice()) {
            (&Method::GET | &Method::POST, _) if is(&["host", "status"]) => Ok(self.status()),
            (&Method::GET, _) if is(&["functions"]) => Ok(self.list_functions(origin)),
            (_, [host, rest @ ..]) if host.eq_ignore_ascii_case("host") => {
                self.host_keys(method, rest, origin, body).await
            }
            (_, [functions, name, keys, rest @ ..])
                if functions.eq_ignore_ascii_case("functions") && keys.eq_ignore_ascii_case("keys") =>
            {
                self.function_keys(method, name, rest, origin, body).await
            }
            (&Method::GET, [functions, name]) if functions.eq_ignore_ascii_case("functions") => {
                self.show_function(name, origin)
            }
            (&Method::POST, [functions, name]) if functions.eq_ignore_ascii_case("functions") => {
                self.invoke(name, body).await
            }
            _ => Err(ApiError::not_found()),
        }
    }

    fn status(&self) -> Reply {
        let version = env!("CARGO_PKG_VERSION");
        let uptime_ms = self.begun.elapsed().as_millis();
        let errors =
            array(self.app.errors().iter().map(|error| crate::durable::Json::string(error).as_str().to_owned()));
        let object = JsonObject::new()
            .string("id", &self.hub_name)
            .string("state", "Running")
            .string("version", version)
            .string("versionDetails", &format!("Soloist {version}"))
            .string("platformVersion", "")
            .string("instanceId", &self.process_id)
            .string("computerName", "")
            .raw("processUptime", &uptime_ms.to_string())
            .string("functionAppContentEditingState", "NotAllowed")
            .raw("extensionBundle", "null")
            .raw("errors", &errors);
        reply::json(StatusCode::OK, object.finish())
    }
}

/// The decoded segments of a path; none if one is not UTF-8. One slash at the end means nothing.
fn segments(tail: &str) -> Option<Vec<String>> {
    let tail = tail.strip_prefix('/').unwrap_or(tail);
    let tail = tail.strip_suffix('/').unwrap_or(tail);
    let decode = |segment: &str| percent_decode_str(segment).decode_utf8().ok().map(|text| text.into_owned());
    tail.split('/').map(decode).collect()
}
