//! Entities: what a batch returns, and what goes wrong in it.

use super::*;
use crate::{
    durable::{EntityId, EntityOperation, EntityRan, Timestamp},
    hub::EntityCall,
};

fn call(name: &str) -> EntityCall {
    EntityCall {
        name: FunctionName::new(name),
        entity: EntityId::parse(name, "k").unwrap(),
        execution_id: "e".into(),
        time: Timestamp(1_000),
        state: Some(Json::parse("5").unwrap()),
        operations: vec![EntityOperation {
            id: "e".into(),
            name: "add".into(),
            input: Json::null(),
            sender: None,
            reply: None,
            scheduled: None,
            trace_context: None,
        }],
    }
}

async fn run(body: &str) -> Result<EntityRan, GuestError> {
    let fixture = Fixture::new();
    fixture.deploy(FunctionKind::Entity, &Core::entity(body)).await;
    fixture.wasm.entity(call("Test")).await
}

#[tokio::test]
async fn a_batch_returns_results_and_state() {
    let six = Json::parse("6").unwrap();
    let expected = EntityRan { results: vec![Ok(six.clone())], state: Some(six), actions: vec![] };
    assert_eq!(run("(i32.const 384)").await, Ok(expected));
}

#[tokio::test]
async fn a_batch_that_traps_loops_or_breaks_the_contract_is_the_codes_fault() {
    for (body, kind) in [
        ("unreachable", "Trap"),
        ("(loop $on (br $on)) unreachable", "CpuLimitExceeded"),
        // The state is the text at 516, which is no JSON.
        ("(i32.store (i32.const 396) (i32.const 516)) (i32.const 384)", "InvalidOutput"),
    ] {
        let Err(GuestError::Code(failure)) = run(body).await else { panic!("{body}") };
        assert_eq!(failure.kind, kind, "{}", failure.message);
    }
}

#[tokio::test]
async fn an_entity_that_is_not_deployed_is_waited_for() {
    let fixture = Fixture::new();
    assert!(matches!(fixture.wasm.entity(call("Test")).await, Err(GuestError::Unavailable(_))));
}
