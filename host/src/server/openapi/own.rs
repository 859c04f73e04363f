//! The host's own API: every operation that the router takes, but for the functions'.

use super::schemas::Content::{self, *};
use crate::server::links::{MANAGEMENT_PATH, V1_MANAGEMENT_PATH};

/// Below which path an operation is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Management,
    Admin,
    Health,
    Root,
}

impl Base {
    pub(super) fn first_path(self) -> &'static str {
        match self {
            Self::Management => MANAGEMENT_PATH,
            Self::Admin => "/admin",
            Self::Health => "/runtime/health",
            Self::Root => "",
        }
    }

    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::Admin => "admin",
            Self::Health | Self::Root => "health",
        }
    }
}

/// Who may ask for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Everyone,
    /// The system key of the management API, or the master key; in part a link's signature.
    Management,
    /// The master key.
    Master,
}

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Any JSON value, or nothing.
    AnyJson,
    /// Any JSON value, or text; or nothing.
    Anything,
    /// The input of a function that is run by hand.
    Invocation,
    /// A key's value.
    KeyValue,
}

/// An operation of the host's own API.
pub(super) struct Operation {
    pub base: Base,
    pub method: &'static str,
    /// Below the base.
    pub path: &'static str,
    pub id: &'static str,
    pub summary: &'static str,
    pub access: Access,
    /// It changes what is stored.
    pub writes: bool,
    /// Names of parameters that several operations share.
    pub query: &'static [&'static str],
    pub body: Option<Body>,
    /// Its own answers, beside those that any request may meet.
    pub responses: &'static [(u16, Content)],
}

impl Operation {
    /// The paths that it is below of, each with whether that is an older one.
    pub(super) fn bases(&self) -> Vec<(&'static str, bool)> {
        let first = (self.base.first_path(), false);
        if self.base == Base::Management { vec![first, (V1_MANAGEMENT_PATH, true)] } else { vec![first] }
    }
}

const fn management(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    let access = Access::Management;
    let writes = !matches!(method.as_bytes(), b"GET");
    let base = Base::Management;
    Operation { base, method, path, id, summary, access, writes, query: &[], body: None, responses: &[] }
}

const fn admin(method: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation { base: Base::Admin, access: Access::Master, ..management(method, path, id, summary) }
}

const fn open(base: Base, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation { base, access: Access::Everyone, ..management("GET", path, id, summary) }
}

impl Operation {
    const fn asks(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    const fn takes(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }

    const fn answers(self, responses: &'static [(u16, Content)]) -> Self {
        Self { responses, ..self }
    }

    const fn opens_to(self, access: Access) -> Self {
        Self { access, ..self }
    }
}

const KEYS: &[(u16, Content)] = &[(200, KeyList), (409, Envelope)];
const KEY: &[(u16, Content)] = &[(200, Key), (409, Envelope)];
const MADE: &[(u16, Content)] = &[(200, Key), (201, Key), (409, Envelope)];
const GONE: &[(u16, Content)] = &[(204, Nothing), (409, Envelope)];
const STARTED: &[(u16, Content)] = &[(200, AnyJson), (202, Links), (409, Envelope), (500, StatusOrNothing)];
const CHANGED: &[(u16, Content)] = &[(202, Nothing), (409, Envelope), (410, Nothing)];

/// Every operation.
pub(super) const OPERATIONS: &[Operation] = &[
    management("POST", "/orchestrators/{functionName}", "startOrchestration", "start an orchestration")
        .asks(&["timeout", "pollingInterval", "version", "returnInternalServerErrorOnFailure"])
        .takes(Body::AnyJson)
        .answers(STARTED),
    management(
        "POST",
        "/orchestrators/{functionName}/{instanceId}",
        "startInstance",
        "start an orchestration under an id, unless that is taken",
    )
    .asks(&["timeout", "pollingInterval", "version", "returnInternalServerErrorOnFailure"])
    .takes(Body::AnyJson)
    .answers(STARTED),
    management("GET", "/instances", "listInstances", "list instances")
        .asks(&[
            "runtimeStatus",
            "instanceIdPrefix",
            "createdTimeFrom",
            "createdTimeTo",
            "top",
            "showInput",
            "continuationToken",
        ])
        .answers(&[(200, StatusList)]),
    management("DELETE", "/instances", "purgeInstances", "delete the ended instances that a filter matches")
        .asks(&["createdTimeFrom", "createdTimeTo", "runtimeStatus"])
        .answers(&[(200, Deleted)]),
    management("GET", "/instances/{instanceId}", "getInstance", "read an instance")
        .asks(&[
            "showInput",
            "showHistory",
            "showHistoryOutput",
            "showRawHistory",
            "returnInternalServerErrorOnFailure",
        ])
        .answers(&[(200, Status), (202, Status), (500, StatusOrNothing)]),
    management("DELETE", "/instances/{instanceId}", "purgeInstance", "delete an ended instance")
        .answers(&[(200, Deleted), (409, Envelope)]),
    management("POST", "/instances/{instanceId}/raiseEvent/{eventName}", "raiseEvent", "deliver an external event")
        .takes(Body::AnyJson)
        .answers(CHANGED),
    management("POST", "/instances/{instanceId}/terminate", "terminateInstance", "end an instance")
        .asks(&["reason"])
        .answers(CHANGED),
    management("POST", "/instances/{instanceId}/suspend", "suspendInstance", "hold an instance")
        .asks(&["reason"])
        .answers(CHANGED),
    management("POST", "/instances/{instanceId}/resume", "resumeInstance", "let an instance go on")
        .asks(&["reason"])
        .answers(CHANGED),
    management("POST", "/instances/{instanceId}/rewind", "rewindInstance", "run what failed of an instance again")
        .asks(&["reason"])
        .answers(CHANGED),
    management("POST", "/instances/{instanceId}/restart", "restartInstance", "start an instance again with its input")
        .asks(&["restartWithNewInstanceId", "timeout", "pollingInterval", "returnInternalServerErrorOnFailure"])
        .answers(STARTED),
    management("GET", "/entities", "listEntities", "list entities")
        .asks(&["lastOperationTimeFrom", "lastOperationTimeTo", "top", "fetchState", "continuationToken"])
        .answers(&[(200, EntityList)]),
    management("GET", "/entities/{entityName}", "listEntitiesOfName", "list the entities of one name")
        .asks(&["lastOperationTimeFrom", "lastOperationTimeTo", "top", "fetchState", "continuationToken"])
        .answers(&[(200, EntityList)]),
    management("GET", "/entities/{entityName}/{entityKey}", "getEntity", "read an entity's state")
        .answers(&[(200, AnyJson)]),
    management("POST", "/entities/{entityName}/{entityKey}", "signalEntity", "send an entity an operation")
        .asks(&["op"])
        .takes(Body::Anything)
        .answers(&[(202, Nothing)]),
    management("DELETE", "/entities/{entityName}/{entityKey}", "deleteEntity", "send an entity the operation delete")
        .answers(&[(202, Nothing)]),
    management("POST", "/makeprimary", "makePrimary", "nothing: the only host is the primary one")
        .answers(&[(200, Nothing)]),
    admin("GET", "/host/durableClient", "getStarter", "what a client in another process needs to know")
        .opens_to(Access::Management)
        .asks(&["rpc"])
        .answers(&[(200, AnyJson)]),
    admin("GET", "/host/ping", "ping", "whether the host answers")
        .opens_to(Access::Everyone)
        .answers(&[(200, Nothing)]),
    admin("POST", "/host/ping", "pingByPost", "whether the host answers")
        .opens_to(Access::Everyone)
        .answers(&[(200, Nothing)]),
    admin("GET", "/host/status", "getHostStatus", "what the host is").answers(&[(200, HostStatus)]),
    admin("POST", "/host/status", "getHostStatusByPost", "what the host is").answers(&[(200, HostStatus)]),
    admin("GET", "/functions", "listFunctions", "list the app's functions").answers(&[(200, FunctionList)]),
    admin("GET", "/functions/{functionName}", "getFunction", "read what a function is").answers(&[(200, Function)]),
    admin("POST", "/functions/{functionName}", "invokeFunction", "run a function without its trigger")
        .takes(Body::Invocation)
        .answers(&[(202, Nothing)]),
    admin("GET", "/host/keys", "listKeys", "list the host's keys").answers(KEYS),
    admin("GET", "/host/keys/{keyName}", "getKey", "whether the host has a key").answers(KEY),
    admin("POST", "/host/keys/{keyName}", "makeKey", "give a key of the host a random value").answers(MADE),
    admin("PUT", "/host/keys/{keyName}", "putKey", "give a key of the host a value")
        .takes(Body::KeyValue)
        .answers(MADE),
    admin("DELETE", "/host/keys/{keyName}", "deleteKey", "delete a key of the host").answers(GONE),
    admin("GET", "/host/functionkeys", "listHostFunctionKeys", "list the host's keys").answers(KEYS),
    admin("GET", "/host/functionkeys/{keyName}", "getHostFunctionKey", "whether the host has a key").answers(KEY),
    admin("POST", "/host/functionkeys/{keyName}", "makeHostFunctionKey", "give a key of the host a random value")
        .answers(MADE),
    admin("PUT", "/host/functionkeys/{keyName}", "putHostFunctionKey", "give a key of the host a value")
        .takes(Body::KeyValue)
        .answers(MADE),
    admin("DELETE", "/host/functionkeys/{keyName}", "deleteHostFunctionKey", "delete a key of the host").answers(GONE),
    admin("GET", "/host/systemkeys", "listSystemKeys", "list the system keys").answers(KEYS),
    admin("GET", "/host/systemkeys/{keyName}", "getSystemKey", "whether there is a system key").answers(KEY),
    admin("POST", "/host/systemkeys/{keyName}", "makeSystemKey", "give a system key a random value").answers(MADE),
    admin("PUT", "/host/systemkeys/{keyName}", "putSystemKey", "give a system key a value")
        .takes(Body::KeyValue)
        .answers(MADE),
    admin("DELETE", "/host/systemkeys/{keyName}", "deleteSystemKey", "delete a system key").answers(GONE),
    admin("GET", "/functions/{functionName}/keys", "listFunctionKeys", "list a function's keys").answers(KEYS),
    admin("GET", "/functions/{functionName}/keys/{keyName}", "getFunctionKey", "whether a function has a key")
        .answers(KEY),
    admin(
        "POST",
        "/functions/{functionName}/keys/{keyName}",
        "makeFunctionKey",
        "give a function's key a random value",
    )
    .answers(MADE),
    admin("PUT", "/functions/{functionName}/keys/{keyName}", "putFunctionKey", "give a function's key a value")
        .takes(Body::KeyValue)
        .answers(MADE),
    admin("DELETE", "/functions/{functionName}/keys/{keyName}", "deleteFunctionKey", "delete a function's key")
        .answers(GONE),
    open(Base::Health, "/live", "getLiveness", "whether the process lives").answers(&[(200, Health)]),
    Operation { method: "HEAD", ..open(Base::Health, "/live", "headLiveness", "whether the process lives") }
        .answers(&[(200, Nothing)]),
    open(Base::Health, "/ready", "getReadiness", "whether the host can work").answers(&[(200, Health), (503, Nothing)]),
    Operation { method: "HEAD", ..open(Base::Health, "/ready", "headReadiness", "whether the host can work") }
        .answers(&[(200, Nothing), (503, Nothing)]),
    open(Base::Root, "/", "getRoot", "that the host runs, unless a function has this route").answers(&[(200, Text)]),
    open(Base::Root, super::PATH, "getOpenApi", "this document, unless a function has this route")
        .opens_to(Access::Management)
        .answers(&[(200, AnyJson)]),
    Operation { method: "HEAD", ..open(Base::Root, "/", "headRoot", "that the host runs") }.answers(&[(200, Nothing)]),
    Operation { method: "HEAD", ..open(Base::Root, super::PATH, "headOpenApi", "that this document is there") }
        .opens_to(Access::Management)
        .answers(&[(200, Nothing)]),
];
