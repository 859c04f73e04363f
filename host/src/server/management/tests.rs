//! The API's answers, against a scripted hub.

use std::collections::BTreeMap;
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Bytes;

use super::*;
use crate::durable::EntityId;
use crate::durable::{ExecutionId, Failure, InstanceKey, Timestamp};
use crate::hub::{
    ClientError, Creation, EntityStatus, EntityStatusPage, EntityStatusQuery, PurgeFilter, Restarted, SignalEntity,
    StartNew, StartOutcome, StatusPage, Target,
};
use crate::server::body::Body;
use crate::storage::Output;

pub(in crate::server) const STATUS_JSON: &str = r#"{"name":"E1","instanceId":"a","runtimeStatus":"Running","input":{"b":1.0, "a":[]},"customStatus":"half","output":null,"createdTime":"2026-01-01T00:00:00Z","lastUpdatedTime":"2026-01-01T00:00:03Z"}"#;

/// The start of every instance.
const CREATION: Creation = Creation { instance: InstanceKey(1), time: Timestamp(1_767_225_600_999_999) };

pub(in crate::server) fn status(runtime_status: RuntimeStatus) -> OrchestrationStatus {
    OrchestrationStatus {
        name: "E1".into(),
        instance_id: InstanceId::from_stored("a"),
        execution_id: ExecutionId("x".into()),
        runtime_status,
        input: Some(Json::parse(r#"{"b":1.0, "a":[]}"#).unwrap()),
        output: None,
        custom_status: Some(Json::string("half")),
        instance: CREATION.instance,
        created: CREATION.time,
        updated: Timestamp(1_767_225_603_000_000),
        history: None,
        diagnostics: None,
        tags: vec![],
    }
}

/// A hub of instances that never change by themselves, which writes down what it is asked.
#[derive(Default)]
pub(in crate::server) struct ScriptedHub {
    instances: BTreeMap<&'static str, OrchestrationStatus>,
    asked: Mutex<Vec<String>>,
    /// Once an instance was looked at, a later start has its id.
    swaps: bool,
    looks: AtomicU32,
    /// How often an operation found its instance.
    reached: AtomicU32,
}

impl ScriptedHub {
    /// One instance in each state, named for it.
    pub(in crate::server) fn new() -> Self {
        let instances = RuntimeStatus::ALL.map(|runtime_status| {
            let output = match runtime_status {
                RuntimeStatus::Completed => Some(Output::Completed(Json::parse("[ 1 ]").unwrap())),
                RuntimeStatus::Failed => Some(Output::Failed(Failure::new("Panic", "boom"))),
                _ => None,
            };
            let id = InstanceId::from_stored(runtime_status.as_str());
            (runtime_status.as_str(), OrchestrationStatus { instance_id: id, output, ..status(runtime_status) })
        });
        Self { instances: instances.into(), ..Self::default() }
    }

    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn live(&self, target: Target<'_>) -> Result<(), ClientError> {
        let Target { id, creation } = target;
        let found = self.instances.get(id).filter(|_| !self.swaps || creation.is_none());
        let status = found.ok_or_else(|| ClientError::NotFound(id.into()))?.runtime_status;
        self.reached.fetch_add(1, Ordering::SeqCst);
        if status.is_terminal() { Err(ClientError::Gone(status)) } else { Ok(()) }
    }

    fn held(&self, id: &str, verb: &str, allows: impl FnOnce(RuntimeStatus) -> bool) -> Result<(), ClientError> {
        let status = self.instances[id].runtime_status;
        if allows(status) { Ok(()) } else { Err(ClientError::Conflict(format!("cannot {verb}: it is {status}"))) }
    }
}

impl DurableClient for ScriptedHub {
    fn start_new(&self, start: StartNew) -> BoxFuture<'_, Result<StartOutcome, ClientError>> {
        self.ask(format!("start {} {:?} {} {:?}", start.name, start.instance_id, start.input.as_str(), start.version));
        let id = start.instance_id.unwrap_or_else(|| "made".into());
        let outcome = match (InstanceId::parse(&id), self.instances.get(id.as_str())) {
            (Err(error), _) => Err(ClientError::InvalidArgument(error.to_string())),
            (Ok(instance_id), Some(status)) if !status.runtime_status.is_terminal() => {
                Ok(StartOutcome::AlreadyExists { instance_id, status: status.runtime_status })
            }
            (Ok(instance_id), _) => {
                Ok(StartOutcome::Started { instance_id, execution_id: ExecutionId("x".into()), creation: CREATION })
            }
        };
        Box::pin(async move { outcome })
    }

    fn status<'a>(
        &'a self,
        id: &'a str,
        want: StatusWant,
    ) -> BoxFuture<'a, Result<Option<OrchestrationStatus>, ClientError>> {
        self.ask(format!("status {id}"));
        let status = self.instances.get(id).cloned().map(|mut status| {
            status.input = status.input.filter(|_| want.input);
            status.history = want.history.then(Vec::new);
            if self.swaps && self.looks.fetch_add(1, Ordering::SeqCst) > 0 {
                status.created = Timestamp(CREATION.time.0 + 1);
            }
            status
        });
        Box::pin(async move { Ok(status) })
    }

    fn wait_for_end<'a>(
        &'a self,
        id: &'a str,
        want: StatusWant,
    ) -> BoxFuture<'a, Result<Option<OrchestrationStatus>, ClientError>> {
        Box::pin(async move {
            match self.status(id, want).await? {
                Some(status) if !status.runtime_status.is_terminal() => std::future::pending().await,
                found => Ok(found),
            }
        })
    }

    fn list(&self, query: StatusQuery) -> BoxFuture<'_, Result<StatusPage, ClientError>> {
        self.ask(format!("{query:?}"));
        let instances = self.instances.values().take(query.top.unwrap_or(100)).cloned().collect();
        let continuation = query.continuation.is_none().then(|| "next".to_owned());
        Box::pin(async move { Ok(StatusPage { instances, continuation }) })
    }

    fn raise_event<'a>(
        &'a self,
        target: Target<'a>,
        name: &'a str,
        input: Json,
    ) -> BoxFuture<'a, Result<(), ClientError>> {
        let id = target.id;
        self.ask(format!("raise {id} {name} {}", input.as_str()));
        Box::pin(async move { self.live(target) })
    }

    fn terminate<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>> {
        let id = target.id;
        self.ask(format!("terminate {id} {reason:?}"));
        Box::pin(async move { self.live(target) })
    }

    fn rewind<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>> {
        let id = target.id;
        self.ask(format!("rewind {id} {reason:?}"));
        Box::pin(async move {
            match self.live(target) {
                Ok(()) => Err(ClientError::Conflict("it is live".into())),
                Err(ClientError::Gone(RuntimeStatus::Failed)) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn suspend<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>> {
        let id = target.id;
        self.ask(format!("suspend {id} {reason:?}"));
        Box::pin(async move {
            self.live(target).and_then(|()| self.held(id, "suspend", |status| status != RuntimeStatus::Suspended))
        })
    }

    fn resume<'a>(&'a self, target: Target<'a>, reason: &'a str) -> BoxFuture<'a, Result<(), ClientError>> {
        let id = target.id;
        self.ask(format!("resume {id} {reason:?}"));
        Box::pin(async move {
            self.live(target).and_then(|()| self.held(id, "resume", |status| status == RuntimeStatus::Suspended))
        })
    }

    fn restart<'a>(&'a self, target: Target<'a>, with_new_id: bool) -> BoxFuture<'a, Result<Restarted, ClientError>> {
        let id = target.id;
        self.ask(format!("restart {id} {with_new_id}"));
        Box::pin(async move {
            match self.live(target) {
                Err(ClientError::NotFound(id)) => Err(ClientError::NotFound(id)),
                Ok(()) if !with_new_id => Err(ClientError::Conflict("it is live".into())),
                _ => {
                    let instance_id = InstanceId::from_stored(if with_new_id { "Completed" } else { id });
                    Ok(Restarted { instance_id, creation: CREATION })
                }
            }
        })
    }

    fn purge<'a>(&'a self, target: Target<'a>) -> BoxFuture<'a, Result<(), ClientError>> {
        Box::pin(async move {
            match self.live(target) {
                Ok(()) => Err(ClientError::Conflict("it is live".into())),
                Err(ClientError::Gone(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
    }

    fn purge_by(&self, filter: PurgeFilter) -> BoxFuture<'_, Result<u64, ClientError>> {
        self.ask(format!("{filter:?}"));
        // The filter is the hub's to apply: here only the one thing that makes a difference to the answer.
        let purged = if filter.statuses == [RuntimeStatus::Terminated] { 0 } else { 3 };
        Box::pin(async move { Ok(purged) })
    }

    fn signal_entity(&self, signal: SignalEntity) -> BoxFuture<'_, Result<(), ClientError>> {
        self.ask(format!("signal {} {:?} {}", signal.entity, signal.operation, signal.input.as_str()));
        let known = signal.entity.name() == "counter";
        Box::pin(async move {
            if known { Ok(()) } else { Err(ClientError::UnknownFunction("The function doesn't exist".into())) }
        })
    }

    fn read_entity(&self, id: EntityId) -> BoxFuture<'_, Result<Option<EntityStatus>, ClientError>> {
        self.ask(format!("read {id}"));
        let found = (id.key() != "none").then(|| entity(&id, true));
        Box::pin(async move { Ok(found) })
    }

    fn list_entities(&self, query: EntityStatusQuery) -> BoxFuture<'_, Result<EntityStatusPage, ClientError>> {
        self.ask(format!("{query:?}"));
        let entities = vec![entity(&EntityId::parse("Counter", "k").unwrap(), query.state)];
        let continuation = query.continuation.is_none().then(|| "next".to_owned());
        Box::pin(async { Ok(EntityStatusPage { entities, continuation }) })
    }
}

fn entity(id: &EntityId, with_state: bool) -> EntityStatus {
    let state = with_state.then(|| Json::parse(r#"{"b": 1.0}"#).unwrap());
    EntityStatus { id: id.clone(), state, last_operation: Timestamp(1_767_225_603_000_000) }
}

struct Answer {
    code: u16,
    headers: HeaderMap,
    body: String,
    asked: Vec<String>,
}

/// Sends `METHOD /tail` with headers and a body.
fn send(request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send_to(&ServerOptions::default(), request, headers, body)
}

fn send_to(options: &ServerOptions, request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    send_with(options, (Arc::new(ScriptedHub::new()), None), request, headers, body)
}

fn send_with(
    options: &ServerOptions,
    (hub, keys): (Arc<ScriptedHub>, Option<Arc<Keys>>),
    request: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let management = Management::new(hub.clone(), keys, options);
    let (method, target) = request.split_once(' ').unwrap();
    let mut builder = http::Request::builder().method(method).uri(format!("/base{target}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    let tail = parts.uri.path().strip_prefix("/base").unwrap().to_owned();
    let origin = Origin::of_address("127.0.0.1:7071".parse().unwrap());
    let body = Body::for_test(Bytes::copy_from_slice(body.as_bytes()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let reply = management
            .handle(&parts, Reached { origin: &origin, base: "/base", tail: &tail, is_secret: false }, async {
                Ok(body)
            })
            .await;
        let (parts, body) = reply.unwrap_or_else(ApiError::into_reply).into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let asked = std::mem::take(&mut *hub.asked.lock().unwrap());
        Answer { code: parts.status.as_u16(), headers: parts.headers, body, asked }
    })
}

#[test]
fn entities_are_read_listed_signaled_and_deleted() {
    let answer = send("GET /entities/Counter/$", &[], "");
    assert_eq!((answer.code, answer.body.as_str()), (200, r#"{"b": 1.0}"#));
    assert_eq!(answer.asked, ["read @counter@"], "$ is the empty key");
    let answer = send("GET /entities/Counter/none", &[], "");
    assert_eq!((answer.code, answer.body.as_str()), (404, ""));
    let answer = send("GET /entities/counter?fetchState=true&top=2", &[], "");
    assert_eq!(
        answer.body,
        r#"[{"entityId":{"name":"counter","key":"k"},"lastOperationTime":"2026-01-01T00:00:03.0000000Z","state":{"b": 1.0}}]"#
    );
    assert_eq!((answer.code, &answer.headers["x-ms-continuation-token"]), (200, &"next".parse().unwrap()));
    let answer = send("GET /entities", &[("x-ms-continuation-token", "next")], "");
    assert!(!answer.body.contains("state"), "{}", answer.body);
    assert_eq!(answer.headers["x-ms-continuation-token"], "", "the last page");
    for (headers, body, asked) in [
        (&JSON[..], "[ 1 ]", r#"signal @counter@k "add" [ 1 ]"#),
        (&[], "plain", r#"signal @counter@k "add" "plain""#),
        (&[], "", r#"signal @counter@k "add" null"#),
    ] {
        let answer = send("POST /entities/counter/k?op=add", headers, body);
        assert_eq!((answer.code, answer.asked.as_slice()), (202, &[asked.to_owned()][..]));
    }
    assert_eq!(send("POST /entities/counter/k", &[], "").asked, [r#"signal @counter@k "" null"#]);
    assert_eq!(send("DELETE /entities/counter/k", &[], "").asked, [r#"signal @counter@k "delete" null"#]);
    for (request, headers, body, message) in [
        ("POST /entities/counter/k", &JSON[..], "{", "Could not parse JSON content: "),
        ("POST /entities/other/k", &[], "", "The function doesn't exist"),
        ("POST /entities/counter/a%23b", &[], "", "Entity names and keys must not contain"),
        ("DELETE /entities/other/k", &[], "", "The function doesn't exist"),
    ] {
        let answer = send(request, headers, body);
        assert_eq!(answer.code, 400, "{request}");
        assert!(answer.body.starts_with(&format!(r#"{{"Message":"{message}"#)), "{request}: {}", answer.body);
    }
}

const JSON: [(&str, &str); 1] = [("content-type", "Application/JSON; charset=utf-8")];

#[test]
fn a_start_is_answered_with_where_to_look() {
    let answer = send("POST /orchestrators/E1/a%20b?version=2", &[], r#"{"x": 1.0}"#);
    assert_eq!(answer.asked, [r#"start E1 Some("a b") {"x": 1.0} Some("2")"#]);
    assert_eq!(answer.code, 202);
    let location =
        "http://127.0.0.1:7071/runtime/webhooks/durabletask/instances/a%20b?taskHub=TestHubName&connection=Storage";
    assert_eq!(answer.headers["location"], location);
    assert_eq!(answer.headers["retry-after"], "10");
    assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8");
    assert!(answer.body.starts_with(&format!(r#"{{"id":"a b","statusQueryGetUri":"{location}","#)), "{}", answer.body);
    assert_eq!(send("POST /orchestrators/E1", &[], "").asked, [r#"start E1 None null None"#]);
}

#[test]
fn a_start_that_cannot_be_is_refused_with_the_reason() {
    let malformed = send("POST /orchestrators/E1", &[], "{");
    assert_eq!(malformed.code, 400);
    assert!(
        malformed.body.starts_with(r#"{"Message":"Invalid JSON content","ExceptionMessage":""#),
        "{}",
        malformed.body
    );
    assert!(malformed.asked.is_empty(), "nothing was started");
    let illegal = send("POST /orchestrators/E1/a%2Fb", &[], "");
    assert_eq!(illegal.code, 400);
    assert!(illegal.body.contains("Orchestration instance ids must not contain /"));
    let exists = send("POST /orchestrators/E1/Running", &[], "");
    assert_eq!(exists.code, 409);
    assert!(exists.body.contains("An Orchestration instance with the status Running already exists."));
    assert_eq!(send("POST /orchestrators/E1/%ff", &[], "").code, 400);
}

#[test]
fn a_caller_may_wait_for_the_end() {
    let completed = send("POST /orchestrators/E1/Completed?timeout=10&pollingInterval=1", &[], "");
    assert_eq!((completed.code, completed.body.as_str()), (200, "[ 1 ]"));
    let failed = send("POST /orchestrators/E1/Failed?timeout=10&pollingInterval=1", &[], "");
    assert_eq!(failed.code, 200);
    assert!(failed.body.contains(r#""output":"Orchestrator function 'E1' failed: boom""#));
    let failed = send(
        "POST /orchestrators/E1/Failed?timeout=1&pollingInterval=1&returnInternalServerErrorOnFailure=true",
        &[],
        "",
    );
    assert_eq!(failed.code, 500);
    assert_eq!(send("POST /orchestrators/E1?timeout=0.05&pollingInterval=0.01", &[], "").code, 202);
    assert_eq!(send("POST /orchestrators/E1?timeout=1", &[], "").asked.len(), 1, "one parameter alone makes no wait");
    let absurd = send("POST /orchestrators/E1?timeout=1&pollingInterval=1.5", &[], "");
    assert_eq!(absurd.code, 400);
    assert!(absurd.body.contains("Total timeout 1 should be bigger than retry timeout 1.5"), "{}", absurd.body);
    assert!(absurd.asked.is_empty(), "nothing was started");
}

#[test]
fn a_status_read_tells_by_its_code_whether_the_instance_has_ended() {
    for id in ["Running", "Pending", "ContinuedAsNew", "Suspended"] {
        let answer = send(&format!("GET /instances/{id}?x=1"), &[], "");
        assert_eq!(answer.code, 202, "{id}");
        assert_eq!(answer.headers["location"], format!("http://127.0.0.1:7071/base/instances/{id}?x=1").as_str());
        assert_eq!(answer.headers["retry-after"], "5");
    }
    for id in ["Completed", "Terminated", "Canceled", "Failed"] {
        let answer = send(&format!("GET /instances/{id}"), &[], "");
        assert_eq!(answer.code, 200, "{id}");
        assert!(!answer.headers.contains_key("location"));
    }
    assert_eq!(send("GET /instances/Failed?returnInternalServerErrorOnFailure=TRUE", &[], "").code, 500);
    for id in ["unknown", "a%2Fb", "%40x", "%00"] {
        let unknown = send(&format!("GET /instances/{id}"), &[], "");
        assert_eq!((unknown.code, unknown.body.as_str()), (404, ""), "{id}");
    }
}

#[test]
fn a_status_shows_what_was_asked_for() {
    assert!(send("GET /instances/Running", &[], "").body.contains(r#""input":{"b":1.0, "a":[]}"#));
    assert!(send("GET /instances/Running?showInput=False", &[], "").body.contains(r#""input":null"#));
    assert!(!send("GET /instances/Running", &[], "").body.contains("historyEvents"));
    assert!(
        send("GET /instances/Running?showHistory=True", &[], "").body.ends_with(r#","historyEvents":[],"history":[]}"#)
    );
    // What the projection leaves out, it does not: a pending instance has a history, too.
    let raw = send("GET /instances/Pending?showRawHistory=True&showHistory=false", &[], "").body;
    assert!(raw.ends_with(r#","historyEvents":[],"history":[]}"#), "{raw}");
    assert!(!send("GET /instances/Pending?showHistory=True", &[], "").body.contains("historyEvents"));
}

#[test]
fn a_list_is_paged_by_a_header() {
    let first = send("GET /instances/?top=2&runtimeStatus=Running,Nonsense&showInput=false", &[], "");
    assert_eq!((first.code, first.headers["x-ms-continuation-token"].to_str().unwrap()), (200, "next"));
    assert!(first.body.starts_with(r#"[{"name":"E1""#) && first.body.ends_with("]"));
    assert_eq!(first.body.matches(r#""input":null"#).count(), 2);
    let last = send("GET /instances", &[("x-ms-continuation-token", "next")], "");
    assert_eq!(last.headers["x-ms-continuation-token"], "");
    assert!(last.asked[0].contains(r#"continuation: Some("next")"#) && last.asked[0].contains("top: None"));
    // Bytes that are no text are no first page: who goes on until the token is empty would read it for ever.
    for target in ["GET /instances", "GET /entities"] {
        let asked = send(target, &[("x-ms-continuation-token", "\u{e9}")], "").asked;
        assert!(!asked[0].contains("continuation: None"), "{asked:?}");
    }
    let query = "createdTimeFrom=2026-01-01T00:00:00Z&createdTimeTo=nonsense&instanceIdPrefix=or%20der&top=0";
    let asked = send(&format!("GET /instances?{query}"), &[], "").asked;
    let expected = "StatusQuery { created_from: Some(Timestamp(1767225600000000)), created_to: None, statuses: [], \
                    prefix: Some(\"or der\"), top: None, continuation: None, input: true }";
    assert_eq!(asked, [expected]);
}

#[test]
fn an_event_is_checked_in_the_documented_order() {
    let raised = send("POST /instances/Running/raiseEvent/Go", &JSON, "[1,  2]");
    assert_eq!((raised.code, raised.body.as_str()), (202, ""));
    assert_eq!(raised.asked[1], "raise Running Go [1,  2]");
    assert_eq!(send("POST /instances/Running/raiseEvent/Go", &JSON, "").asked[1], "raise Running Go null");
    assert_eq!(send("POST /instances/unknown/raiseEvent/Go", &[], "{").code, 404);
    assert_eq!(send("POST /instances/Completed/raiseEvent/Go", &[], "{").code, 410);
    let text = send("POST /instances/Running/raiseEvent/Go", &[("content-type", "text/plain")], "{");
    let message = r#"{"Message":"Only application/json request content is supported"}"#;
    assert_eq!((text.code, text.body.as_str()), (400, message));
    assert_eq!(send("POST /instances/Running/raiseEvent/Go", &[], "1").body, message);
    let malformed = send("POST /instances/Running/raiseEvent/Go", &JSON, "{");
    assert!(malformed.code == 400 && malformed.body.contains("Invalid JSON content"));
}

#[test]
fn terminate_and_delete_answer_by_the_instances_state() {
    let terminated = send("POST /instances/Running/terminate?reason=too%20slow+now", &[], "");
    assert_eq!((terminated.code, terminated.body.as_str()), (202, ""));
    assert_eq!(terminated.asked, [r#"terminate Running "too slow now""#]);
    assert_eq!(send("POST /instances/unknown/terminate", &[], "").code, 404);
    assert_eq!(send("POST /instances/Failed/terminate", &[], "").code, 410);
    let deleted = send("DELETE /instances/Completed", &[], "");
    assert_eq!((deleted.code, deleted.body.as_str()), (200, r#"{"instancesDeleted":1}"#));
    let unknown = send("DELETE /instances/unknown", &[], "");
    assert_eq!((unknown.code, unknown.body.as_str()), (404, ""));
    let live = send("DELETE /instances/Running", &[], "");
    assert_eq!(live.code, 409);
    assert!(
        live.body
            .starts_with(r#"{"Message":"Something went wrong while processing your request","ExceptionMessage":""#)
    );
}

#[test]
fn suspend_and_resume_answer_by_the_instances_state() {
    for (request, asked) in [
        ("POST /instances/Running/suspend?reason=too%20fast", r#"suspend Running "too fast""#),
        ("POST /instances/Pending/suspend", r#"suspend Pending """#),
        ("POST /instances/Suspended/resume?Reason=on", r#"resume Suspended "on""#),
    ] {
        let answer = send(request, &[], "");
        assert_eq!((answer.code, answer.body.as_str()), (202, ""), "{request}");
        assert_eq!(answer.asked, [asked]);
    }
    for operation in ["suspend", "resume"] {
        for (id, code) in [("unknown", 404), ("a%2Fb", 404), ("Completed", 410), ("Failed", 410), ("Terminated", 410)] {
            let answer = send(&format!("POST /instances/{id}/{operation}"), &[], "");
            assert_eq!((answer.code, answer.body.as_str()), (code, ""), "{operation} {id}");
        }
    }
    for (request, text) in [
        ("POST /instances/Suspended/suspend", "cannot suspend: it is Suspended"),
        ("POST /instances/Running/resume", "cannot resume: it is Running"),
    ] {
        let answer = send(request, &[], "");
        assert_eq!(answer.code, 409, "{request}");
        let envelope = r#"{"Message":"Something went wrong while processing your request","ExceptionMessage":""#;
        assert!(answer.body.starts_with(&format!("{envelope}{text}\"")), "{}", answer.body);
    }
}

#[test]
fn a_restart_is_answered_like_a_start() {
    let fresh = send("POST /instances/Failed/restart", &[], "");
    assert_eq!((fresh.code, fresh.asked.as_slice()), (202, ["restart Failed true".to_owned()].as_slice()));
    let location =
        "http://127.0.0.1:7071/runtime/webhooks/durabletask/instances/Completed?taskHub=TestHubName&connection=Storage";
    assert_eq!(fresh.headers["location"], location);
    assert_eq!(fresh.headers["retry-after"], "10");
    assert!(fresh.body.starts_with(r#"{"id":"Completed","statusQueryGetUri":"#), "{}", fresh.body);
    let same = send("POST /instances/Failed/restart?restartWithNewInstanceId=False", &[], "");
    assert_eq!((same.code, same.asked.as_slice()), (202, ["restart Failed false".to_owned()].as_slice()));
    assert!(same.body.starts_with(r#"{"id":"Failed","#), "{}", same.body);
    assert_eq!(send("POST /instances/Running/restart?restartWithNewInstanceId=True", &[], "").code, 202);
    assert_eq!(send("POST /instances/Running/restart?restartWithNewInstanceId=false", &[], "").code, 409);

    let waited = send("POST /instances/Failed/restart?timeout=5&pollingInterval=1", &[], "");
    assert_eq!((waited.code, waited.body.as_str()), (200, "[ 1 ]"));
    let absurd = send("POST /instances/Failed/restart?timeout=1&pollingInterval=5", &[], "");
    assert!(absurd.code == 400 && absurd.asked.is_empty(), "nothing was started");
    for (id, name) in [("unknown", "unknown"), ("a%2Fb", "a/b")] {
        let unknown = send(&format!("POST /instances/{id}/restart"), &[], "");
        assert_eq!(unknown.code, 400);
        let text = format!(
            r#"{{"Message":"InstanceId does not match a valid orchestration instance.","ExceptionMessage":"An orchestrastion with the instanceId {name} was not found.""#
        );
        assert!(unknown.body.starts_with(&text), "{}", unknown.body);
    }
}

#[test]
fn a_purge_by_filter_deletes_what_it_names_and_no_more() {
    let from = "createdTimeFrom=2026-01-01T00:00:00Z";
    let all = send(&format!("DELETE /instances/?{from}"), &[], "");
    assert_eq!((all.code, all.body.as_str()), (200, r#"{"instancesDeleted":3}"#));
    assert_eq!(
        all.asked,
        ["PurgeFilter { created_from: Some(Timestamp(1767225600000000)), created_to: None, statuses: [] }"]
    );
    let some =
        send(&format!("DELETE /instances?{from}&createdTimeTo=2026-01-02&runtimeStatus=completed,X,Failed"), &[], "");
    assert_eq!(
        some.asked,
        [
            "PurgeFilter { created_from: Some(Timestamp(1767225600000000)), created_to: Some(Timestamp(1767312000000000)), \
          statuses: [Completed, Failed] }"
        ]
    );
    let none = send(&format!("DELETE /instances?{from}&runtimeStatus=Terminated"), &[], "");
    assert_eq!((none.code, none.body.as_str()), (404, ""));
    let nonsense = send(&format!("DELETE /instances?{from}&runtimeStatus=Nonsense"), &[], "");
    assert_eq!((nonsense.code, nonsense.asked.len()), (404, 0), "no status that there is does not mean every status");
    for missing in ["", "?createdTimeFrom=", "?createdTimeFrom=yesterday", "?createdTimeTo=2026-01-01"] {
        let refused = send(&format!("DELETE /instances{missing}"), &[], "");
        assert_eq!((refused.code, refused.asked.len()), (400, 0), "{missing}");
        assert_eq!(refused.body, r#""Please provide value for 'createdTimeFrom' parameter.""#);
        assert_eq!(refused.headers["content-type"], "application/json; charset=utf-8");
    }
    let unclear = send(&format!("DELETE /instances?{from}&createdTimeTo=tomorrow"), &[], "");
    assert_eq!((unclear.code, unclear.asked.len()), (400, 0));
    assert!(unclear.body.contains("createdTimeTo"), "{}", unclear.body);
}

#[test]
fn only_a_failed_instance_is_rewound() {
    let rewound = send("POST /instances/Failed/rewind?reason=mended%20it", &[], "");
    assert_eq!((rewound.code, rewound.body.as_str()), (202, ""));
    assert_eq!(rewound.asked, [r#"rewind Failed "mended it""#]);
    for (id, code) in [("unknown", 404), ("Completed", 410), ("Terminated", 410), ("Running", 409), ("Pending", 409)] {
        assert_eq!(send(&format!("POST /instances/{id}/rewind"), &[], "").code, code, "{id}");
    }
}

#[test]
fn a_conflict_is_500_where_the_app_says_so() {
    let azure = ServerOptions { azure_status_codes: true, ..ServerOptions::default() };
    for request in [
        "POST /orchestrators/E1/Running",
        "POST /instances/Suspended/suspend",
        "POST /instances/Running/resume",
        "POST /instances/Running/rewind",
        "POST /instances/Running/restart?restartWithNewInstanceId=false",
        "DELETE /instances/Running",
    ] {
        let (ours, theirs) = (send(request, &[], ""), send_to(&azure, request, &[], ""));
        assert_eq!((ours.code, theirs.code), (409, 500), "{request}");
        assert_eq!(ours.body, theirs.body);
    }
    for (request, code) in [
        ("GET /instances/unknown", 404),
        ("POST /instances/Completed/terminate", 410),
        ("POST /instances/unknown/restart", 400),
        ("POST /orchestrators/E1", 202),
    ] {
        assert_eq!(send_to(&azure, request, &[], "").code, code, "{request}");
    }
}

#[test]
fn the_only_host_is_the_primary_one() {
    for (request, code) in [("POST /makeprimary", 200), ("GET /orchestrators/E1", 404)] {
        assert_eq!(send(request, &[], "").code, code, "{request}");
    }
}

#[test]
fn a_link_does_nothing_to_a_start_that_comes_between_its_check_and_its_deed() {
    let keys = Arc::new(Keys::in_memory().unwrap());
    let origin = Origin::of_address("127.0.0.1:7071".parse().unwrap());
    let urls = ManagementUrls::new(&origin, "Hub", Some(keys.signer()));
    for status in RuntimeStatus::ALL {
        let links = urls.for_instance(status.as_str(), Some(CREATION));
        for (method, link) in [
            ("GET", &links.status_query_get_uri),
            ("POST", &links.send_event_post_uri),
            ("POST", &links.terminate_post_uri),
            ("POST", &links.suspend_post_uri),
            ("POST", &links.resume_post_uri),
            ("POST", &links.rewind_post_uri),
            ("POST", &links.restart_post_uri),
            ("DELETE", &links.purge_history_delete_uri),
        ] {
            let tail = link.split_once("/durabletask").unwrap().1.replace("{eventName}", "E").replace("{text}", "");
            let send = |swaps| {
                let hub = Arc::new(ScriptedHub { swaps, ..ScriptedHub::new() });
                let request = format!("{method} {tail}");
                let door = (hub.clone(), Some(keys.clone()));
                let answer = send_with(&ServerOptions::default(), door, &request, &JSON, "1");
                (answer.code, answer.body, hub.reached.load(Ordering::SeqCst) > 0)
            };
            let (code, _, is_done) = send(false);
            assert!(!matches!(code, 401 | 404), "{method} {tail}: {code}");
            assert!(is_done || method == "GET" || code == 410, "{method} {tail}: {code}");
            let (code, body, is_done) = send(true);
            let restart = method == "POST" && tail.contains("/restart");
            assert_eq!((code, is_done), (if restart { 400 } else { 404 }, false), "{method} {tail}: {body}");
        }
    }
}
