//! Entities over HTTP.

use std::future::Future;

use http::StatusCode;

use super::super::body::{Body, BodyError};
use super::super::error::ApiError;
use super::super::json_text::{JsonObject, array};
use super::super::reply::{self, Reply};
use super::super::time::seven_digits;
use super::{CONTINUATION, Call, Management, checked_json, is_json};
use crate::durable::{EntityId, Json};
use crate::hub::{ClientError, EntityStatus, EntityStatusQuery, SignalEntity};

/// In a path, the empty key.
const EMPTY_KEY: &str = "$";

/// An entity as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityPath {
    /// The entity function.
    pub name: String,
    /// The key.
    pub key: String,
}

impl EntityPath {
    fn id(&self) -> Result<EntityId, crate::durable::EntityIdError> {
        EntityId::parse(&self.name, if self.key == EMPTY_KEY { "" } else { &self.key })
    }
}

impl Management {
    pub(super) async fn read_entity(&self, path: &EntityPath) -> Result<Reply, ApiError> {
        // Of an id that cannot be there is none.
        let id = path.id().map_err(|_| ApiError::not_found())?;
        let read = self.client.read_entity(id).await?.ok_or_else(ApiError::not_found)?;
        let state = read.state.unwrap_or_else(Json::null);
        Ok(reply::json(StatusCode::OK, state.as_str().to_owned()))
    }

    pub(super) async fn list_entities(&self, call: &Call<'_>, name: Option<String>) -> Result<Reply, ApiError> {
        let query = &call.query;
        let state = query.flag("fetchState").unwrap_or(false);
        let page = self
            .client
            .list_entities(EntityStatusQuery {
                name,
                last_operation_from: query.time("lastOperationTimeFrom"),
                last_operation_to: query.time("lastOperationTimeTo"),
                top: query.number("top").filter(|top| *top > 0),
                continuation: call.continuation(),
                state,
            })
            .await?;
        let reply = reply::json(StatusCode::OK, array(page.entities.iter().map(entity_json)));
        // Always there: clients go on until it is empty.
        Ok(reply::with_header(reply, CONTINUATION, page.continuation.as_deref().unwrap_or("")))
    }

    pub(super) async fn signal_entity(
        &self,
        call: &Call<'_>,
        path: &EntityPath,
        body: impl Future<Output = Result<Body, BodyError>>,
    ) -> Result<Reply, ApiError> {
        let operation = call.query.text("op").unwrap_or("").to_owned();
        let body = body.await?;
        let input = if body.bytes.is_empty() {
            Json::null()
        } else if is_json(call.headers) {
            checked_json(self.json_depth_max, body)
                .await?
                .map_err(|error| ApiError::message(format!("Could not parse JSON content: {error}")))?
        } else {
            let text = std::str::from_utf8(&body.bytes).map_err(|_| ApiError::message("The content is not UTF-8."))?;
            Json::string(text)
        };
        self.signal(path, operation, input).await
    }

    pub(super) async fn delete_entity(&self, path: &EntityPath) -> Result<Reply, ApiError> {
        self.signal(path, "delete".to_owned(), Json::null()).await
    }

    async fn signal(&self, path: &EntityPath, operation: String, input: Json) -> Result<Reply, ApiError> {
        let entity = path.id().map_err(|error| ApiError::message(error.to_string()))?;
        let signal = SignalEntity { entity, operation, input, scheduled: None, trace_context: None };
        match self.client.signal_entity(signal).await {
            Ok(()) => Ok(reply::empty(StatusCode::ACCEPTED)),
            Err(ClientError::UnknownFunction(text)) => Err(ApiError::message(text)),
            Err(error) => Err(error.into()),
        }
    }
}

fn entity_json(entity: &EntityStatus) -> String {
    let id = JsonObject::new().string("name", entity.id.name()).string("key", entity.id.key()).finish();
    JsonObject::new()
        .raw("entityId", &id)
        .string("lastOperationTime", &seven_digits(entity.last_operation))
        .when(entity.state.is_some(), |o| o.json("state", entity.state.as_ref()))
        .finish()
}
