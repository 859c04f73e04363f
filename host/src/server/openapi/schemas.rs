//! The shapes that requests and answers have.

use serde_json::{Map, Value, json};

use super::own::Body;

/// What an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Nothing,
    Text,
    AnyJson,
    Status,
    StatusOrNothing,
    StatusList,
    Links,
    Deleted,
    EntityList,
    Envelope,
    HostStatus,
    Function,
    FunctionList,
    Key,
    KeyList,
    Health,
}

impl Content {
    /// The name of its schema; none for what has none.
    fn schema(self) -> Option<Value> {
        let named = |name: &str| Some(json!({ "$ref": format!("#/components/schemas/{name}") }));
        let list =
            |name: &str| Some(json!({ "type": "array", "items": { "$ref": format!("#/components/schemas/{name}") } }));
        match self {
            Self::Nothing | Self::Text | Self::StatusOrNothing => None,
            Self::AnyJson => Some(json!({})),
            Self::Status => named("Status"),
            Self::StatusList => list("Status"),
            Self::Links => named("Links"),
            Self::Deleted => named("Deleted"),
            Self::EntityList => list("Entity"),
            Self::Envelope => named("Envelope"),
            Self::HostStatus => named("HostStatus"),
            Self::Function => named("Function"),
            Self::FunctionList => list("Function"),
            Self::Key => named("Key"),
            Self::KeyList => named("Keys"),
            Self::Health => named("Health"),
        }
    }
}

pub(super) fn response(status: u16, content: Content) -> Value {
    let description = match (status, content) {
        (202, Content::Links) => "it has started, and that is on disk",
        (202, Content::Status) => "it has not ended",
        (202, _) => "that is on disk, or begun",
        (201, _) => "it is new",
        (204, _) => "it is gone",
        (409, _) => "its state forbids it",
        (410, _) => "it has ended",
        (500, Content::StatusOrNothing) => "it failed and the request asked for this code, or the host failed",
        (503, _) => "the host cannot work now",
        _ => "done",
    };
    let mut response = json!({ "description": description });
    if content == Content::Text {
        response["content"] = json!({ "text/plain": { "schema": { "type": "string" } } });
    } else if let Some(schema) = content.schema() {
        response["content"] = json!({ "application/json": { "schema": schema } });
    }
    if content == Content::Links || (status, content) == (202, Content::Status) {
        response["headers"] = json!({
            "Location": { "description": "where the status is", "schema": { "type": "string", "format": "uri" } },
            "Retry-After": { "description": "seconds", "schema": { "type": "integer" } },
        });
    }
    if matches!(content, Content::StatusList | Content::EntityList) {
        response["headers"] = json!({
            "x-ms-continuation-token": {
                "description": "send it back for the next page; empty on the last one",
                "schema": { "type": "string" },
            },
        });
    }
    response
}

/// What any request may meet.
pub(super) fn common_responses(needs_key: bool, writes: bool) -> Map<String, Value> {
    let mut names = vec![
        ("400", "BadRequest"),
        ("403", "ForeignPage"),
        ("404", "NotFound"),
        ("408", "TooSlow"),
        ("413", "TooLarge"),
        ("421", "UnknownHost"),
        ("429", "TooMany"),
        ("431", "HeadTooLarge"),
        ("500", "Failed"),
        ("503", "Unavailable"),
    ];
    if needs_key {
        names.push(("401", "Unauthorized"));
    }
    if writes {
        names.push(("507", "DiskFull"));
    }
    let reference = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
    names.into_iter().map(|(status, name)| (status.to_owned(), reference(name))).collect()
}

pub(super) fn responses() -> Value {
    let text = || json!({ "text/plain": { "schema": { "type": "string" } } });
    json!({
        "BadRequest": {
            "description": "the request is wrong; the text or the message says how",
            "content": { "text/plain": { "schema": { "type": "string" } }, "application/json": { "schema": {
                "anyOf": [
                    { "$ref": "#/components/schemas/Envelope" },
                    { "$ref": "#/components/schemas/Message" },
                    { "type": "string" },
                ],
            } } },
        },
        "Unauthorized": { "description": "no key that opens this" },
        "ForeignPage": { "description": "sent by a web page of another host", "content": text() },
        "NotFound": { "description": "there is nothing of this name" },
        "TooSlow": { "description": "the request comes too slowly" },
        "TooLarge": { "description": "the body is above the limit that the text names", "content": text() },
        "UnknownHost": { "description": "the host is not known by this name", "content": text() },
        "TooMany": { "description": "too many requests at once" },
        "HeadTooLarge": { "description": "request line and headers are too large" },
        "Failed": { "description": "the host or a function failed; the log says why" },
        "Unavailable": { "description": "not now" },
        "DiskFull": { "description": "the disk of the data folder is full" },
    })
}

pub(super) fn request_body(body: Body) -> Value {
    let any = || json!({ "schema": {} });
    match body {
        Body::AnyJson => json!({ "required": false, "content": { "application/json": any() } }),
        Body::Anything => json!({
            "required": false,
            "content": { "application/json": any(), "text/plain": { "schema": { "type": "string" } } },
        }),
        Body::Invocation => json!({
            "required": false,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Invocation" } } },
        }),
        Body::KeyValue => json!({
            "required": true,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/KeyValue" } } },
        }),
    }
}

/// Query parameters: what cannot be read counts as absent, so that every text is allowed.
pub(super) fn parameters() -> Value {
    let texts = [
        ("timeout", "seconds to wait for the end, together with pollingInterval"),
        ("pollingInterval", "seconds between looks, together with timeout; not more than it"),
        ("version", "a label that the code can read"),
        ("returnInternalServerErrorOnFailure", "true: a failed instance is answered 500"),
        ("runtimeStatus", "a comma list of statuses; unknown ones are ignored"),
        ("instanceIdPrefix", "ids that begin so"),
        ("createdTimeFrom", "ISO 8601, included"),
        ("createdTimeTo", "ISO 8601, included"),
        ("lastOperationTimeFrom", "ISO 8601, included"),
        ("lastOperationTimeTo", "ISO 8601, included"),
        ("top", "the most of a page, 1 to 1000; by default 100"),
        ("showInput", "false: without inputs"),
        ("showHistory", "true: with the history"),
        ("showHistoryOutput", "true: with results in the history"),
        ("showRawHistory", "true: with every recorded event"),
        ("reason", "why, for the history"),
        ("restartWithNewInstanceId", "false: under the same id"),
        ("fetchState", "true: with states"),
        ("op", "the operation's name"),
        ("rpc", "false: without the secret path"),
    ];
    let query = |(name, description): (&str, &str)| {
        let schema = json!({ "type": "string" });
        let value =
            json!({ "name": name, "in": "query", "description": description, "required": false, "schema": schema });
        (name.to_owned(), value)
    };
    let mut all: Map<String, Value> = texts.into_iter().map(query).collect();
    let token = json!({
        "name": "x-ms-continuation-token", "in": "header", "required": false, "schema": { "type": "string" },
        "description": "the token of the page before",
    });
    all.insert("continuationToken".to_owned(), token);
    Value::Object(all)
}

pub(super) fn security_schemes() -> Value {
    let description =
        "A key: of the function or the host, of the system, or the master key, as the operation's level asks for.";
    json!({
        "keyHeader": { "type": "apiKey", "in": "header", "name": "x-functions-key", "description": description },
        "keyQuery": {
            "type": "apiKey", "in": "query", "name": "code",
            "description": format!("{description} In links: a signature, which opens what the link is for."),
        },
    })
}

pub(super) fn schemas() -> Value {
    let text = || json!({ "type": "string" });
    let link = || json!({ "type": "string", "format": "uri-reference" });
    json!({
        "RuntimeStatus": { "type": "string", "enum": [
            "Pending", "Running", "Suspended", "Completed", "Failed", "Terminated", "ContinuedAsNew", "Canceled",
        ] },
        "Status": {
            "type": "object",
            "required": ["name", "instanceId", "runtimeStatus", "input", "customStatus", "output", "createdTime", "lastUpdatedTime"],
            "properties": {
                "name": text(), "instanceId": text(),
                "runtimeStatus": { "$ref": "#/components/schemas/RuntimeStatus" },
                "input": {}, "customStatus": {}, "output": {},
                "createdTime": { "type": "string", "format": "date-time" },
                "lastUpdatedTime": { "type": "string", "format": "date-time" },
                "historyEvents": { "type": "array", "items": { "type": "object" } },
                "history": { "type": "array", "items": { "type": "object" } },
                "diagnostics": text(),
            },
        },
        "Links": {
            "type": "object",
            "required": ["id", "statusQueryGetUri", "sendEventPostUri", "terminatePostUri", "purgeHistoryDeleteUri"],
            "properties": {
                "id": text(), "statusQueryGetUri": text(), "sendEventPostUri": text(), "terminatePostUri": text(),
                "purgeHistoryDeleteUri": text(), "restartPostUri": text(), "suspendPostUri": text(), "resumePostUri": text(),
            },
        },
        "Deleted": {
            "type": "object", "required": ["instancesDeleted"],
            "properties": { "instancesDeleted": { "type": "integer", "minimum": 0 } },
        },
        "Entity": {
            "type": "object", "required": ["entityId", "lastOperationTime"],
            "properties": {
                "entityId": {
                    "type": "object", "required": ["name", "key"], "properties": { "name": text(), "key": text() },
                },
                "lastOperationTime": { "type": "string", "format": "date-time" },
                "state": {},
            },
        },
        "Envelope": {
            "type": "object", "required": ["Message", "ExceptionMessage", "ExceptionType", "StackTrace"],
            "properties": { "Message": text(), "ExceptionMessage": text(), "ExceptionType": text(), "StackTrace": text() },
        },
        "Message": { "type": "object", "required": ["Message"], "properties": { "Message": text() } },
        "HostStatus": {
            "type": "object", "required": ["id", "state", "version", "instanceId", "processUptime", "errors"],
            "properties": {
                "id": text(), "state": text(), "version": text(), "versionDetails": text(), "platformVersion": text(),
                "instanceId": text(), "computerName": text(), "processUptime": { "type": "integer" },
                "functionAppContentEditingState": text(), "extensionBundle": { "type": "null" },
                "errors": { "type": "array", "items": text() },
            },
        },
        "Function": {
            "type": "object", "required": ["name", "href", "invoke_url_template", "language", "config", "isDisabled"],
            "properties": {
                "name": text(), "script_root_path_href": link(), "script_href": link(), "config_href": link(),
                "test_data_href": { "type": "null" }, "href": link(), "invoke_url_template": { "type": ["string", "null"] },
                "language": text(), "config": {}, "files": { "type": "null" }, "test_data": text(),
                "isDisabled": { "type": "boolean" }, "isDirect": { "type": "boolean" }, "isProxy": { "type": "boolean" },
            },
        },
        "Invocation": {
            "type": "object",
            "properties": { "input": { "description": "a text: JSON, or else itself" } },
        },
        "Key": {
            "type": "object", "required": ["name", "value", "links"],
            "properties": {
                "name": text(),
                "value": { "type": ["string", "null"], "description": "told when it is made, and never again" },
                "links": { "type": "array", "items": { "type": "object" } },
            },
        },
        "Keys": {
            "type": "object", "required": ["keys", "links"],
            "properties": {
                "keys": { "type": "array", "items": {
                    "type": "object", "required": ["name", "value"],
                    "properties": { "name": text(), "value": { "type": "null" } },
                } },
                "links": { "type": "array", "items": { "type": "object" } },
            },
        },
        "KeyValue": {
            "type": "object", "required": ["value"],
            "properties": {
                "name": { "type": "string", "description": "if it is there: that of the path" },
                "value": { "type": "string", "minLength": 16, "maxLength": 1024 },
            },
        },
        "Health": {
            "type": "object", "required": ["status"],
            "properties": { "status": { "type": "string", "enum": ["Healthy", "Unhealthy"] } },
        },
    })
}
