//! Calls: limits, failures, slots.

use super::*;
use crate::durable::{GuestEvent, GuestOutcome, Timestamp};

const RECURSE: &str = "(func $deeper (param i32) (result i32)
    (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))";

#[tokio::test]
async fn a_function_answers() {
    let fixture = Fixture::new();
    let core = Core::http(
        "(i32.store (i32.const 76) (i32.const 512)) (i32.store (i32.const 80) (i32.const 1)) (i32.const 64)",
    );
    fixture.deploy(FunctionKind::Http, &core).await;
    let reply = fixture.call("TEST").await.unwrap();
    assert_eq!(reply, HttpReply { status: 200, headers: Vec::new(), body: b"6".to_vec() });
}

#[tokio::test]
async fn every_request_gets_a_fresh_guest() {
    let fixture = Fixture::new();
    let core = Core::http(
        "(global.set $count (i32.add (global.get $count) (i32.const 1)))
         (i32.store16 (i32.const 64) (i32.add (i32.const 200) (global.get $count))) (i32.const 64)",
    )
    .with("(global $count (mut i32) (i32.const 0))");
    fixture.deploy(FunctionKind::Http, &core).await;
    for _ in 0..50 {
        assert_eq!(fixture.call("Test").await.unwrap().status, 201);
    }
}

#[tokio::test]
async fn a_trap_is_a_failure_that_names_where() {
    let core = Core::http("(call $broken) (i32.const 64)").with("(func $broken unreachable)");
    let failure = Fixture::new().failure(&core).await;
    assert_eq!(failure.kind, "Trap");
    assert!(failure.details.unwrap().contains("at broken"));
}

#[tokio::test]
async fn endless_recursion_is_named() {
    let core = Core::http("(drop (call $deeper (i32.const 0))) (i32.const 64)").with(RECURSE);
    let failure = Fixture::new().failure(&core).await;
    assert_eq!(failure.kind, "StackOverflow");
    assert!(failure.details.unwrap().contains("times)"), "repeated frames are counted");
}

#[tokio::test]
async fn running_over_the_shadow_stack_is_a_stack_overflow() {
    let core = Core::http("(i32.store (i32.const -16) (i32.const 1)) (i32.const 64)");
    assert_eq!(Fixture::new().failure(&core).await.kind, "StackOverflow");
    let core = Core::http("(i32.store (i32.const 0x70000000) (i32.const 1)) (i32.const 64)");
    assert_eq!(Fixture::new().failure(&core).await.kind, "Trap", "any other bad address is not");
}

#[tokio::test]
async fn memory_is_limited_and_the_limit_named() {
    let hoard = "(loop $more (br_if $more (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)))) unreachable";
    let failure = Fixture::new().failure(&Core::http(hoard)).await;
    assert_eq!(failure.kind, "MemoryLimitExceeded");
    assert!(failure.message.contains("4 MiB") && failure.message.contains("guestMemoryBytes"), "{}", failure.message);
}

#[tokio::test]
async fn a_call_that_loops_is_ended_and_says_where() {
    let failure = Fixture::new().failure(&Core::http("(call $spin) (i32.const 64)").with(SPIN)).await;
    assert_eq!(failure.kind, "CpuLimitExceeded");
    assert!(failure.message.contains("50 ms") && failure.message.contains("guestCpuMilliseconds"));
    assert!(failure.details.unwrap().contains("at spin"));
}

const SPIN: &str = "(func $spin (loop $l (br $l)))";

#[tokio::test]
async fn calls_that_loop_leave_the_thread_that_made_them() {
    let seconds = Duration::from_secs(60);
    let fixture = Fixture::with(WasmConfig { cpu_limit: seconds, request_wait: seconds, ..config() });
    // A request with parameters loops; the others return. All on the one thread of this test.
    let spin = fixture.write("spin.wasm", Core::http("(call $spin) (i32.const 64)").with(SPIN).component());
    let fine = fixture.write("fine.wasm", Core::http("(i32.const 64)").component());
    let functions = vec![function("Spin", FunctionKind::Http, spin), function("Fine", FunctionKind::Http, fine)];
    assert!(fixture.wasm.deploy(functions).await.iter().all(Result::is_ok));
    let mut spinning = Box::pin(fixture.call("Spin"));
    for _ in 0..20 {
        tokio::select! {
            biased;
            _ = &mut spinning => panic!("it loops for ever"),
            reply = fixture.call("Fine") => assert_eq!(reply.unwrap().status, 200),
        }
    }
}

#[tokio::test]
async fn dropping_a_call_stops_its_guest_and_frees_its_slot() {
    let fixture = Fixture::with(WasmConfig { cpu_limit: Duration::from_secs(60), requests_max: 1, ..config() });
    fixture.deploy(FunctionKind::Http, &Core::http("(call $spin) (i32.const 64)").with(SPIN)).await;
    let mut spinning = Box::pin(fixture.call("Test"));
    assert!(tokio::time::timeout(Duration::from_millis(20), &mut spinning).await.is_err());
    assert_eq!(fixture.call("Test").await, Err(HttpCallError::Throttled(1)));
    drop(spinning);
    // The slot comes back once the guest's thread has noticed.
    fixture.wasm.requests.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn a_response_over_the_limit_fails_without_being_copied() {
    // Claims a body of 2 MiB, which lies in memory; the limit is 1 MiB, with 1 MiB for headers.
    let core =
        Core::http("(drop (memory.grow (i32.const 33))) (i32.store (i32.const 80) (i32.const 2097152)) (i32.const 64)");
    let failure = Fixture::new().failure(&core).await;
    assert_eq!(failure.kind, "ResponseTooLarge");
    assert!(failure.message.contains("1048576") && failure.message.contains("maxResponseBytes"), "{}", failure.message);
    let core =
        Core::http("(i32.store (i32.const 80) (i32.const 1048577)) (drop (memory.grow (i32.const 16))) (i32.const 64)");
    assert_eq!(Fixture::new().failure(&core).await.kind, "ResponseTooLarge", "one byte too many");
}

#[tokio::test]
async fn an_activity_returns_a_payload_or_breaks_the_contract() {
    let fixture = Fixture::new();
    fixture.deploy(FunctionKind::Activity, &Core::activity("(i32.const 128)")).await;
    assert_eq!(fixture.wasm.activity(activity_call("test")).await.unwrap().as_str(), "6");
    let unknown = fixture.wasm.activity(activity_call("Other")).await.unwrap_err();
    assert_eq!(unknown.kind, "FunctionNotFound");
    fixture
        .deploy(FunctionKind::Activity, &Core::activity("(i32.store8 (i32.const 512) (i32.const 123)) (i32.const 128)"))
        .await;
    let failure = fixture.wasm.activity(activity_call("Test")).await.unwrap_err();
    assert_eq!(failure.kind, "InvalidOutput");
    assert!(failure.message.contains("the activity's result"), "{}", failure.message);
}

#[tokio::test]
async fn only_a_function_with_a_binding_may_use_the_durable_client() {
    let fixture = Fixture::new();
    let core = Core::http("(call $imported (i32.const 512) (i32.const 1) (i32.const 1024)) (i32.const 64)").import(
        "soloist:functions/durable-client@1.0.0",
        "management-urls",
        "(param i32 i32 i32)",
    );
    let path = fixture.write("test.wasm", core.component());
    let bare = function("Bare", FunctionKind::Http, path.clone());
    let bound =
        DeployedFunction { client: Some(ClientGrant::default()), ..function("Bound", FunctionKind::Http, path) };
    assert!(fixture.wasm.deploy(vec![bare, bound]).await.iter().all(Result::is_ok));
    assert_eq!(fixture.call("Bound").await.unwrap().status, 200);
    let Err(HttpCallError::Guest(failure)) = fixture.call("Bare").await else { panic!("not granted") };
    assert_eq!(failure.kind, "ImportNotGranted");
    assert!(
        failure.message.contains("durable-client#management-urls") && failure.message.contains("durableClient binding")
    );
}

#[tokio::test]
async fn activities_send_requests_and_orchestrators_beside_them_do_not() {
    let fixture = Fixture::new();
    let orchestrator = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)";
    // The activity returns what became of its request; one without a host is refused at once.
    let core = Core::activity("(i32.store8 (i32.const 512) (i32.add (i32.const 48) (call $send))) (i32.const 128)")
        .export("orchestrator@1.0.0", "turn", orchestrator, "(drop (call $send)) (i32.const 320)")
        .sending();
    let path = fixture.write("mixed.wasm", core.component());
    let activity = function("Act", FunctionKind::Activity, path.clone());
    let deployed = fixture.wasm.deploy(vec![activity, function("Test", FunctionKind::Orchestrator, path)]).await;
    let digest = deployed.into_iter().map(Result::unwrap).next().unwrap().digest;
    assert_eq!(fixture.wasm.activity(activity_call("Act")).await.unwrap().as_str(), "1");
    let mut guest = fixture.guest(digest).await.unwrap();
    let Err(GuestError::Code(failure)) = guest.turn(false, 1, &[turn(0)]).await else { panic!("it may not") };
    assert_eq!(failure.kind, "ImportNotGranted");
    assert!(failure.message.contains("wasi:http/outgoing-handler#handle"), "{}", failure.message);
}

#[tokio::test]
async fn an_http_function_that_takes_too_long_is_stopped() {
    let timeout = Duration::from_millis(50);
    let limits = WasmConfig { cpu_limit: Duration::from_secs(60), function_timeout: Some(timeout), ..config() };
    let fixture = Fixture::with(WasmConfig { requests_max: 1, ..limits });
    let failure = fixture.failure(&Core::http("(call $spin) (i32.const 64)").with(SPIN)).await;
    assert_eq!(failure.kind, "Timeout");
    assert_eq!(failure.message, "Timeout value of 00:00:00.0500000 exceeded by function 'Test'");
    fixture.wasm.requests.acquire().await.unwrap().forget();
}

fn turn(ms: i64) -> GuestEvent {
    GuestEvent::TurnStarted(Timestamp(ms * 1000))
}

#[tokio::test]
async fn a_resident_orchestrator_keeps_its_state_between_turns() {
    let fixture = Fixture::new();
    let core = Core::orchestrator(
        "(global.set $turns (i32.add (global.get $turns) (i32.const 1)))
         (select (i32.const 256) (i32.const 320) (i32.eq (global.get $turns) (i32.const 3)))",
    )
    .with("(global $turns (mut i32) (i32.const 0))");
    let digest = fixture.deploy(FunctionKind::Orchestrator, &core).await.digest;
    let mut guest = fixture.guest(digest).await.unwrap();
    for expected in [GuestOutcome::Waiting, GuestOutcome::Waiting, GuestOutcome::Completed(Json::from_stored("6"))] {
        assert_eq!(guest.turn(false, 1, &[turn(1)]).await.unwrap().outcome, expected);
    }
    assert!(guest.resident_bytes() > 0);
}

#[tokio::test]
async fn an_orchestrator_that_failed_is_gone() {
    let fixture = Fixture::new();
    let digest = fixture.deploy(FunctionKind::Orchestrator, &Core::orchestrator("unreachable")).await.digest;
    let mut guest = fixture.guest(digest).await.unwrap();
    let GuestError::Code(failure) = guest.turn(false, 1, &[turn(1)]).await.unwrap_err() else { panic!("code") };
    assert_eq!(failure.kind, "Trap");
    assert!(matches!(guest.turn(false, 1, &[turn(2)]).await, Err(GuestError::Unavailable(_))));
}

#[tokio::test]
async fn a_turn_that_was_dropped_takes_its_guest_along() {
    let fixture = Fixture::with(WasmConfig { cpu_limit: Duration::from_secs(60), ..config() });
    let core = Core::orchestrator("(call $spin) (i32.const 320)").with(SPIN);
    let digest = fixture.deploy(FunctionKind::Orchestrator, &core).await.digest;
    let mut guest = fixture.guest(digest).await.unwrap();
    let events = [turn(1)];
    assert!(tokio::time::timeout(Duration::from_millis(20), guest.turn(false, 1, &events)).await.is_err());
    assert!(matches!(guest.turn(false, 1, &events).await, Err(GuestError::Unavailable(_))));
}

#[tokio::test]
async fn a_replay_may_use_the_cpu_time_of_all_its_turns() {
    let fixture = Fixture::new();
    let core = Core::orchestrator("(call $spin) (i32.const 320)").with(SPIN);
    let digest = fixture.deploy(FunctionKind::Orchestrator, &core).await.digest;
    let mut guest = fixture.guest(digest).await.unwrap();
    let GuestError::Code(failure) = guest.turn(true, 4, &[turn(1)]).await.unwrap_err() else { panic!("code") };
    assert!(failure.message.contains("200 ms"), "{}", failure.message);
}

/// The guest adds up the seconds that it reads, once per call, and completes at 1 + 2 + 3.
#[tokio::test]
async fn a_clock_read_in_a_replay_shows_each_turns_own_time() {
    let fixture = Fixture::new();
    let core = Core::orchestrator(
        "(call $imported (i32.const 1024))
         (global.set $sum (i64.add (global.get $sum) (i64.load (i32.const 1024))))
         (select (i32.const 256) (i32.const 320) (i64.eq (global.get $sum) (i64.const 6)))",
    )
    .import("wasi:clocks/wall-clock@0.2.6", "now", "(param i32)")
    .with("(global $sum (mut i64) (i64.const 0))");
    let digest = fixture.deploy(FunctionKind::Orchestrator, &core).await.digest;
    for _ in 0..2 {
        let mut guest = fixture.guest(digest).await.unwrap();
        let replayed = guest.turn(true, 3, &[turn(1000), turn(2000), turn(3000)]).await.unwrap();
        assert_eq!(replayed.outcome, GuestOutcome::Completed(Json::from_stored("6")));
    }
}
