//! The host's own pages: `/admin`, for whoever has the master key, and `/runtime/health`, for whoever watches the process.

mod functions;
mod health;
mod host_keys;
pub(super) mod page;

use std::{future::Future, sync::Arc, time::Instant};

pub use functions::{AppAdmin, FunctionInfo, HttpFunctionInfo, InvokeError};
use http::{StatusCode, request};

use page::Page;

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
        let page = Page::parse(&parts.method, tail);
        if page == Some(Page::Ping) {
            return Ok(reply::empty(StatusCode::OK));
        }
        // Before anything is looked up: a stranger learns of nothing whether it is there.
        if !self.opens(parts, Demand::Admin) {
            return Err(ApiError::unauthorized());
        }
        let (page, method) = (page.ok_or_else(ApiError::not_found)?, &parts.method);
        match page {
            Page::Ping => Ok(reply::empty(StatusCode::OK)),
            Page::Status => Ok(self.status()),
            Page::Functions => Ok(self.list_functions(origin)),
            Page::Function(name) => self.show_function(&name, origin),
            Page::Invoke(name) => self.invoke(&name, body).await,
            Page::HostKeys { kind, key } => self.host_keys(method, &kind, key.as_deref(), origin, body).await,
            Page::FunctionKeys { function, key } => {
                self.function_keys(method, &function, key.as_deref(), origin, body).await
            }
        }
    }

    /// True if a request shows a key that opens this, or none is asked for.
    pub(super) fn opens(&self, parts: &request::Parts, demand: Demand<'_>) -> bool {
        match &self.keys {
            Some(keys) => Presented::by(parts).key().is_some_and(|key| keys.open_for(key, demand)),
            None => true,
        }
    }

    /// The app.
    pub(super) fn app(&self) -> &dyn AppAdmin {
        &*self.app
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
