//! Keys over HTTP, as Azure's tools manage them. Values are told when they are made, and never again: only digests are kept.

use std::{future::Future, sync::Arc};

use http::{Method, StatusCode};
use serde::Deserialize;

use super::Admin;
use crate::server::body::{Body, BodyError};
use crate::server::error::ApiError;
use crate::server::json_text::{JsonObject, array};
use crate::server::keys::{KeyError, KeyId, Keys, Made, NewValue, Scope};
use crate::server::links::Origin;
use crate::server::reply::{self, Reply};

/// The body of a PUT. Its name must be the path's, if it has one.
#[derive(Deserialize)]
struct Put {
    name: Option<String>,
    value: Option<String>,
}

/// Whose keys a path names.
struct Collection {
    scope: Scope,
    /// Its path.
    path: String,
}

impl Admin {
    /// Answers a request below `/admin/host`.
    pub(super) async fn host_keys(
        &self,
        method: &Method,
        kind: &str,
        key: Option<&str>,
        origin: &Origin,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        let scope = if kind == "systemkeys" { Scope::System } else { Scope::Host };
        self.keys(method, &Collection { scope, path: format!("{origin}/admin/host/{kind}") }, key, body).await
    }

    /// Answers a request below `/admin/functions/{name}/keys`.
    pub(super) async fn function_keys(
        &self,
        method: &Method,
        function: &str,
        key: Option<&str>,
        origin: &Origin,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        let function = self.function(function)?.name;
        let path = format!("{origin}/admin/functions/{function}/keys");
        self.keys(method, &Collection { scope: Scope::function(&function), path }, key, body).await
    }

    async fn keys(
        &self,
        method: &Method,
        collection: &Collection,
        key: Option<&str>,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        let Some(keys) = &self.keys else { return Err(ApiError::conflict(WITHOUT_KEYS)) };
        let Some(name) = key else { return Ok(collection.list(keys)) };
        let id = KeyId::parse(collection.scope.clone(), name);
        match *method {
            Method::GET => {
                let id = id.filter(|id| keys.list().contains(id)).ok_or_else(ApiError::not_found)?;
                Ok(reply::json(StatusCode::OK, collection.show(&id, None)))
            }
            Method::POST => self.make(keys, collection, id, None).await,
            Method::PUT => {
                let value = put_value(&body.await?.bytes, name)?;
                self.make(keys, collection, id, Some(value)).await
            }
            Method::DELETE => {
                let id = id.ok_or_else(ApiError::not_found)?;
                in_background(keys, move |keys| keys.revoke(&id)).await?;
                Ok(reply::empty(StatusCode::NO_CONTENT))
            }
            _ => Err(ApiError::not_found()),
        }
    }

    async fn make(
        &self,
        keys: &Arc<Keys>,
        collection: &Collection,
        id: Option<KeyId>,
        chosen: Option<String>,
    ) -> Result<Reply, ApiError> {
        let id = id.ok_or_else(|| ApiError::argument(INVALID_NAME))?;
        let made = in_background(keys, move |keys| {
            keys.put(&id, chosen.as_deref().map_or(NewValue::Random, NewValue::Chosen))
        });
        let made = made.await?;
        tracing::info!(scope = %made.id.scope, name = %made.id.name, is_new = made.is_new, "a key was given a value");
        let status = if made.is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok(reply::json(status, collection.show(&made.id, Some(&made))))
    }
}

const INVALID_NAME: &str =
    "Invalid key name: use 1 to 128 letters, digits, hyphens, underscores and dots, a letter or digit first.";
const WITHOUT_KEYS: &str = "This host runs with --dev and has no keys.";

impl Collection {
    fn list(&self, keys: &Keys) -> Reply {
        let own = keys.list();
        // The master key is managed among the system keys.
        let own = own
            .iter()
            .filter(|id| id.scope == self.scope || (id.scope == Scope::Master && self.scope == Scope::System));
        let keys = array(own.map(|id| JsonObject::new().string("name", &id.name).raw("value", "null").finish()));
        let object = JsonObject::new().raw("keys", &keys).raw("links", &links(&self.path));
        reply::json(StatusCode::OK, object.finish())
    }

    fn show(&self, id: &KeyId, made: Option<&Made>) -> String {
        JsonObject::new()
            .string("name", &id.name)
            .string_or_null("value", made.map(|made| made.value.reveal()))
            .raw("links", &links(&format!("{}/{}", self.path, id.name)))
            .finish()
    }
}

fn links(path: &str) -> String {
    array([JsonObject::new().string("rel", "self").string("href", path).finish()])
}

/// What is wrong is said without what was sent: it holds a key.
fn put_value(body: &[u8], name: &str) -> Result<String, ApiError> {
    let put: Put =
        serde_json::from_slice(body).map_err(|_| ApiError::argument("Invalid key: the body must be JSON."))?;
    if put.name.is_some_and(|own| !own.eq_ignore_ascii_case(name)) {
        return Err(ApiError::argument("Invalid key: the name in the body is not that of the path."));
    }
    put.value.filter(|value| !value.is_empty()).ok_or_else(|| ApiError::argument("Invalid key value"))
}

/// Keys are changed on a thread that may wait for the disk, and to the end even if the caller has gone.
async fn in_background<T: Send + 'static>(
    keys: &Arc<Keys>,
    change: impl FnOnce(&Keys) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, ApiError> {
    let keys = Arc::clone(keys);
    let changed = tokio::task::spawn_blocking(move || change(&keys)).await.map_err(|_| ApiError::internal())?;
    changed.map_err(|error| match error {
        KeyError::BuiltIn | KeyError::Value => ApiError::argument(error.to_string()),
        KeyError::NotFound => ApiError::not_found(),
        KeyError::Exists => ApiError::conflict(error.to_string()),
        KeyError::Corrupt { .. } | KeyError::Io { .. } | KeyError::NoEntropy(_) => {
            tracing::error!(%error, "keys cannot be changed");
            ApiError::internal()
        }
    })
}
