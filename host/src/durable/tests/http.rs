//! Durable HTTP: what turns make of a call's outcomes.

use super::*;

fn call(retry: Option<HttpRetry>) -> Action {
    Action::CallHttp(Box::new(HttpScheduled {
        sequence: 0,
        method: "POST".into(),
        uri: "http://a.test/start".into(),
        headers: vec![("a".into(), "b".into())],
        content: Some("x".into()),
        asynchronous_pattern: true,
        timeout_ms: None,
        retry,
        token_source: None,
    }))
}

fn with_policy() -> Option<HttpRetry> {
    Some(HttpRetry { policy: policy(), status_codes: vec![] })
}

fn http_ended(outcome: Result<HttpOutcome, Failure>) -> Message {
    Message::HttpEnded { generation: GenerationKey(2), sequence: 0, outcome }
}

fn accepted(due: i64) -> Message {
    http_ended(Ok(HttpOutcome::Accepted { location: "http://a.test/status".into(), due: Timestamp(due) }))
}

fn answered() -> Message {
    let answer = HttpAnswer { status: 200, headers: vec![], content: "done".into() };
    http_ended(Ok(HttpOutcome::Answered(Box::new(answer))))
}

fn refused() -> Message {
    http_ended(Err(Failure::new("HttpRequestException", "no")))
}

#[test]
fn accepted_work_is_asked_after_at_its_time_and_the_code_sees_only_the_answer() {
    let mut instance = fresh();
    let mut records = vec![start_record()];
    records.push(turn(&mut instance, vec![], 2_000, vec![call(None)]));
    assert_eq!(instance.summary().outstanding, 1, "a crash sends it again");
    for due in [60_000, 90_000] {
        records.push(turn(&mut instance, vec![accepted(due)], due - 20_000, vec![]));
        assert_eq!((instance.summary().outstanding, instance.next_due()), (0, Some(Timestamp(due))));
        assert!(instance.begin_turn(vec![], Timestamp(due - 1)).is_none(), "no wait is shortened");
        let begun = instance.begin_turn(vec![], Timestamp(due)).unwrap();
        assert!(!begun.needs_guest());
        records.push(turn(&mut instance, vec![], due, vec![]));
        assert_eq!(records.last().unwrap().events, [HistoryEvent::HttpPollStarted { sequence: 0 }]);
        assert_eq!((instance.summary().outstanding, instance.next_due()), (1, None));
        assert_eq!(instance.task(0).unwrap().poll.as_deref(), Some("http://a.test/status"));
        assert_eq!(fold(&records), instance, "what a crash leaves is a poll, not the call");
    }
    let begun = instance.begin_turn(vec![answered()], Timestamp(95_000)).unwrap();
    assert!(matches!(begun.guest_events(&instance)[..], [GuestEvent::TurnStarted(_), GuestEvent::HttpCompleted(0, _)]));
    records.push(turn(&mut instance, vec![answered()], 95_000, vec![]));
    assert!(instance.task(0).is_none() && instance.begin_turn(vec![answered()], Timestamp(96_000)).is_none());
    let replay = Replay::of(&records).unwrap();
    let guest = |action| GuestTurn { actions: vec![action], outcome: GuestOutcome::Waiting };
    assert!(replay.check(&guest(call(None))).is_ok());
    assert!(replay.check(&guest(call(with_policy()))).is_err(), "the whole call is compared");
}

#[test]
fn a_failed_request_is_repeated_by_its_policy_and_a_failed_poll_is_not() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![call(with_policy())]);
    let record = turn(&mut instance, vec![refused()], 3_000_000, vec![]);
    assert!(matches!(
        record.events[..],
        [HistoryEvent::TaskRetryScheduled { attempt: 1, due: Timestamp(4_000_000), .. }]
    ));
    let record = turn(&mut instance, vec![], 4_000_000, vec![]);
    assert_eq!(record.events, [HistoryEvent::TaskRetryStarted { sequence: 0, attempt: 2 }]);
    turn(&mut instance, vec![accepted(5_000_000)], 4_500_000, vec![]);
    turn(&mut instance, vec![], 5_000_000, vec![]);
    let record = turn(&mut instance, vec![refused()], 6_000_000, vec![]);
    assert!(matches!(record.events[..], [HistoryEvent::HttpFailed { sequence: 0, .. }]));
    assert_eq!((record.summary.outstanding, record.summary.next_due), (0, None));
}

#[test]
fn a_call_that_was_given_up_is_not_asked_after() {
    let mut instance = fresh();
    turn(&mut instance, vec![], 2_000, vec![call(None)]);
    turn(&mut instance, vec![accepted(60_000)], 3_000, vec![]);
    let record = turn(&mut instance, vec![event(1)], 4_000, vec![Action::Cancel { sequence: 0 }]);
    assert_eq!((record.summary.outstanding, record.summary.next_due), (0, None));
    assert!(instance.begin_turn(vec![answered()], Timestamp(90_000)).is_none());
}
