//! Components made against each published contract, as text, for ever: components like these are deployed.
//!
//! `everything` and `deterministic` import and export all that their worlds have, and never return; the others run.

use super::*;
use crate::durable::{Action, GuestEvent, GuestOutcome, Timestamp};

/// The golden components of contract 1.0.0.
macro_rules! contract_1_0_0 {
    ($name:literal) => {
        wat::parse_str(include_str!(concat!("golden/contract-1.0.0/", $name, ".wat"))).unwrap()
    };
}

/// One of them that imports and exports what its world has.
pub(super) fn component() -> Vec<u8> {
    contract_1_0_0!("everything")
}

#[tokio::test]
async fn an_orchestrator_of_contract_1_0_0_runs() {
    let fixture = Fixture::new();
    let path = fixture.write("o.wasm", contract_1_0_0!("orchestrator"));
    let deployed = fixture.deploy_one(function("Test", FunctionKind::Orchestrator, path)).await.unwrap();
    assert_eq!(deployed.contract, "1.0.0");
    let mut guest = fixture.guest(deployed.digest).await.unwrap();
    let turn = guest.turn(false, 1, &[GuestEvent::TurnStarted(Timestamp(1))]).await.unwrap();
    let [Action::ScheduleTask(task)] = &turn.actions[..] else { panic!("{turn:?}") };
    assert_eq!((task.sequence, task.name.as_str(), task.input.as_str()), (0, "Act", "6"));
    assert!(task.retry.is_none() && task.timeout_ms.is_none() && task.tags.is_empty());
    assert_eq!(turn.outcome, GuestOutcome::Waiting);
    let completed = GuestEvent::TaskCompleted(0, Json::from_stored("7"));
    let turn = guest.turn(false, 1, &[GuestEvent::TurnStarted(Timestamp(2)), completed]).await.unwrap();
    assert_eq!((turn.actions.len(), turn.outcome), (0, GuestOutcome::Completed(Json::from_stored("6"))));
}

#[tokio::test]
async fn an_activity_of_contract_1_0_0_runs() {
    let fixture = Fixture::new();
    let path = fixture.write("a.wasm", contract_1_0_0!("activity"));
    fixture.deploy_one(function("Test", FunctionKind::Activity, path)).await.unwrap();
    assert_eq!(fixture.wasm.activity(activity_call("Test")).await.unwrap().as_str(), "6");
}

#[tokio::test]
async fn an_http_function_of_contract_1_0_0_runs_and_calls_its_durable_client() {
    let fixture = Fixture::new();
    let path = fixture.write("h.wasm", contract_1_0_0!("http-function"));
    let function =
        DeployedFunction { client: Some(ClientGrant::default()), ..function("Test", FunctionKind::Http, path) };
    fixture.deploy_one(function).await.unwrap();
    // Its status is 200 and whether the start was refused: there is no hub here.
    assert_eq!(fixture.call("Test").await.unwrap().status, 201);
}

#[tokio::test]
async fn every_import_and_export_of_contract_1_0_0_is_what_it_was() {
    let fixture = Fixture::new();
    fixture.write("e.wasm", contract_1_0_0!("everything"));
    let path = fixture.write("d.wasm", contract_1_0_0!("deterministic"));
    let deployed = fixture.deploy_one(function("Test", FunctionKind::Orchestrator, path)).await.unwrap();
    let mut guest = fixture.guest(deployed.digest).await.unwrap();
    // Its types are those of this host, or there would be no call that could trap.
    let GuestError::Code(failure) = guest.turn(false, 1, &[GuestEvent::TurnStarted(Timestamp(1))]).await.unwrap_err()
    else {
        panic!("it never returns")
    };
    assert_eq!(failure.kind, "Trap", "{failure:?}");
    for kind in [FunctionKind::Http, FunctionKind::Activity] {
        let failure = match kind {
            FunctionKind::Http => match fixture.deploy_everything(kind).await.call("Test").await {
                Err(HttpCallError::Guest(failure)) => failure,
                other => panic!("it never returns: {other:?}"),
            },
            _ => fixture.deploy_everything(kind).await.wasm.activity(activity_call("Test")).await.unwrap_err(),
        };
        assert_eq!(failure.kind, "Trap", "{failure:?}");
    }
}

impl Fixture {
    async fn deploy_everything(&self, kind: FunctionKind) -> &Self {
        let path = self.folder.path().join("e.wasm");
        let client = Some(ClientGrant::default());
        self.deploy_one(DeployedFunction { client, ..function("Test", kind, path) }).await.unwrap();
        self
    }
}
