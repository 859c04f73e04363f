//! Durable HTTP in records.

use super::*;
use crate::durable::{HttpAnswer, HttpRetry, HttpScheduled, TokenSource};

fn everything_of_http() -> TurnRecord {
    let headers = vec![("accept".to_owned(), "a".to_owned()), ("x".to_owned(), "ü".to_owned())];
    let source =
        TokenSource { kind: "K".to_owned(), resource: "r".to_owned(), options: Some(Json::from_stored("{\"t\":1}")) };
    let call = HttpScheduled {
        sequence: 200,
        method: "POST".to_owned(),
        uri: "http://a.test/x".to_owned(),
        headers: headers.clone(),
        content: Some("c".to_owned()),
        asynchronous_pattern: true,
        timeout_ms: Some(2.5),
        retry: Some(HttpRetry { policy: retry(), status_codes: vec![429, 503] }),
        token_source: Some(source),
    };
    let answer = HttpAnswer { status: 418, headers, content: "short and stout".into() };
    TurnRecord {
        time: Timestamp(1_795_217_333_372_123),
        events: vec![
            HistoryEvent::HttpScheduled(Box::new(call)),
            HistoryEvent::HttpCompleted { sequence: 200, answer: Box::new(answer) },
            HistoryEvent::HttpFailed { sequence: 3, failure: failure() },
            HistoryEvent::HttpPollScheduled { sequence: 4, location: "http://a.test/s".to_owned(), due: Timestamp(77) },
            HistoryEvent::HttpPollStarted { sequence: 4 },
        ],
        summary: summary(RuntimeStatus::Running),
    }
}

/// For ever, as those beside it.
const GOLDEN_HTTP: &str = "\
    01b6939ab7b3afb00600000532c80108504f53541e687474703a2f2f612e746573742f78010c616363657074026101027804\
    c3bc0202630304000000000000044005ac02000000000000f83f000000000000004001000000000000244002000000000000\
    344003027204026e0006ad0306f70307024b0272080e7b2274223a317d0033c801a2031e73686f727420616e642073746f75\
    74010c616363657074026101027804c3bc003403024b026d010264020263026e03047b7d040035041e687474703a2f2f612e\
    746573742f739a013604574e802d";

#[test]
fn http_is_recorded_as_it_always_was() {
    assert_eq!(hex(&encode(&everything_of_http()).bytes), GOLDEN_HTTP);
    assert_eq!(decode(&unhex(GOLDEN_HTTP), Texts::Skip).unwrap(), everything_of_http());
    hurt_everywhere(&unhex(GOLDEN_HTTP));
}

#[test]
fn a_large_answer_is_a_payload_of_its_own() {
    let mut record = everything_of_http();
    if let HistoryEvent::HttpCompleted { answer, .. } = &mut record.events[1] {
        answer.content = "x".repeat(INLINE_MAX + 1).into();
    }
    assert_eq!(encode(&record).payloads.len(), 1);
    assert_eq!(round_trip(&record), record);
}
