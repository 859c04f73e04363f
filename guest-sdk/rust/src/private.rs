//! What the attribute macros' code calls. Not for anyone else.

use crate::client::DurableClient;
pub use crate::entity::batch::Entity;
pub use crate::entity::function::Function as EntityFunction;
pub use crate::entity::methods::{Method, Methods, Operation};
use crate::failure::{Failure, Result};
use crate::http::{HttpError, HttpResponse};
use crate::json;
pub use crate::registry::{Function, Run};
pub use inventory;
use serde::{Serialize, de::DeserializeOwned};

/// What a function returned: a value or a `Result`.
///
/// For a `Result` the methods here are found, for any other type those of the traits below. So the macros need not guess
/// from how the return type is written.
pub struct Returned<T>(pub T);

impl<T, E> Returned<std::result::Result<T, E>> {
    /// The value, or the failure that the error becomes.
    pub fn into_result(self) -> Result<T>
    where
        E: Into<Failure>,
    {
        self.0.map_err(Into::into)
    }
}

impl<E> Returned<std::result::Result<HttpResponse, E>> {
    /// The response, or the one that the error becomes.
    pub fn into_response(self) -> HttpResponse
    where
        E: Into<HttpError>,
    {
        self.0.unwrap_or_else(|error| error.into().into_response())
    }
}

/// For functions that cannot fail.
pub trait ReturnedValue<T> {
    /// The value.
    fn into_result(self) -> Result<T>;
}

impl<T> ReturnedValue<T> for Returned<T> {
    fn into_result(self) -> Result<T> {
        Ok(self.0)
    }
}

/// For HTTP triggers that cannot fail.
pub trait ReturnedResponse<T> {
    /// The response.
    fn into_response(self) -> HttpResponse
    where
        T: Into<HttpResponse>;
}

impl<T> ReturnedResponse<T> for Returned<T> {
    fn into_response(self) -> HttpResponse
    where
        T: Into<HttpResponse>,
    {
        self.0.into()
    }
}

/// Writes a function's output.
pub fn output(value: impl Serialize) -> Result<String> {
    json::encode(&value, || "the output".into())
}

/// Reads an activity's input.
pub fn activity_input<T: DeserializeOwned>(input: &str, name: &str) -> Result<T> {
    json::decode(input, || format!("the input of activity '{name}'"))
}

/// The client for a function that asks for one.
pub fn durable_client() -> DurableClient {
    DurableClient::new()
}
