//! What is deployed, and running a function without its trigger.

use std::{future::Future, sync::Arc};

use futures::future::BoxFuture;
use http::StatusCode;
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;

use super::Admin;
use crate::app::{ApiPath, AuthLevel};
use crate::durable::Json;
use crate::hub::ClientError;
use crate::server::body::{Body, BodyError};
use crate::server::error::ApiError;
use crate::server::json_text::{JsonObject, array};
use crate::server::links::{ESCAPED, Origin};
use crate::server::reply::{self, Reply};

/// A function, as the admin pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Its name.
    pub name: String,
    /// Its component: a path below the app's folder.
    pub script: String,
    /// Its path with the prefix, if it is an HTTP function: `/api/orders/{id}`.
    pub route: Option<String>,
    /// It is switched off.
    pub is_disabled: bool,
    /// Its `function.json`.
    pub config: Json,
}

/// A function that answers requests.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpFunctionInfo {
    /// Its name.
    pub name: String,
    /// The paths that it answers on, with the app's prefix, without a slash first.
    pub paths: Vec<ApiPath>,
    /// Its methods, upper case; empty means all.
    pub methods: Vec<String>,
    /// Which key a caller needs.
    pub auth_level: AuthLevel,
}

/// Why a function was not run.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// There is none of that name.
    #[error("no such function")]
    NotFound,
    /// It cannot be run so.
    #[error("{0}")]
    NotInvocable(String),
    /// It could not be started.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The app, as the admin pages need it.
pub trait AppAdmin: Send + Sync + 'static {
    /// The functions, in the order of their names.
    fn functions(&self) -> Arc<[FunctionInfo]>;

    /// The functions that answer requests, in the order in which routes are tried.
    fn http_functions(&self) -> Vec<HttpFunctionInfo>;

    /// What is wrong with the functions that are not served.
    fn errors(&self) -> Arc<[String]>;

    /// Runs a function with an input, without waiting for its end. The name compares without regard to case.
    fn invoke<'a>(&'a self, function: &'a str, input: Json) -> BoxFuture<'a, Result<(), InvokeError>>;
}

/// The body of an invocation.
#[derive(Deserialize)]
struct Invocation {
    input: Option<serde_json::Value>,
}

impl Admin {
    pub(super) fn list_functions(&self, origin: &Origin) -> Reply {
        let functions = self.app.functions();
        reply::json(StatusCode::OK, array(functions.iter().map(|function| function_json(function, origin))))
    }

    pub(super) fn show_function(&self, name: &str, origin: &Origin) -> Result<Reply, ApiError> {
        let function = self.function(name)?;
        Ok(reply::json(StatusCode::OK, function_json(&function, origin)))
    }

    pub(super) fn function(&self, name: &str) -> Result<FunctionInfo, ApiError> {
        let functions = self.app.functions();
        let found = functions.iter().find(|function| function.name.eq_ignore_ascii_case(name));
        found.cloned().ok_or_else(ApiError::not_found)
    }

    /// Runs a function. The input is a text: JSON, or else itself.
    pub(super) async fn invoke(
        &self,
        name: &str,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        self.function(name)?;
        let body = body.await?;
        let input = if body.bytes.is_empty() { Json::null() } else { input_of(&body.bytes)? };
        match self.app.invoke(name, input).await {
            Ok(()) => Ok(reply::empty(StatusCode::ACCEPTED)),
            Err(InvokeError::NotFound) => Err(ApiError::not_found()),
            Err(InvokeError::NotInvocable(text)) => Err(ApiError::argument(text)),
            Err(InvokeError::Client(error)) => Err(error.into()),
        }
    }
}

fn input_of(body: &[u8]) -> Result<Json, ApiError> {
    let invocation: Invocation = serde_json::from_slice(body).map_err(|_| {
        ApiError::argument(r#"the body must be a JSON object with the input as a text, such as {"input":"\"Tokyo\""}"#)
    })?;
    match invocation.input {
        None | Some(serde_json::Value::Null) => Ok(Json::null()),
        Some(serde_json::Value::String(text)) => Ok(Json::parse(text.as_str()).unwrap_or_else(|_| Json::string(&text))),
        Some(other) => Json::parse(other.to_string()).map_err(|error| ApiError::invalid_json(&error)),
    }
}

/// A function's metadata, with Azure's members.
fn function_json(function: &FunctionInfo, origin: &Origin) -> String {
    let name = utf8_percent_encode(&function.name, ESCAPED).to_string();
    let files = format!("{origin}/admin/vfs/site/wwwroot");
    let invoke_url = function.route.as_ref().map(|route| format!("{origin}{route}"));
    JsonObject::new()
        .string("name", &function.name)
        .string("script_root_path_href", &format!("{files}/{name}/"))
        .string("script_href", &format!("{files}/{}", function.script))
        .string("config_href", &format!("{files}/{name}/function.json"))
        .raw("test_data_href", "null")
        .string("href", &format!("{origin}/admin/functions/{name}"))
        .string_or_null("invoke_url_template", invoke_url.as_deref())
        .string("language", "wasm")
        .json("config", Some(&function.config))
        .raw("files", "null")
        .string("test_data", "")
        .raw("isDisabled", if function.is_disabled { "true" } else { "false" })
        .raw("isDirect", "false")
        .raw("isProxy", "false")
        .finish()
}
