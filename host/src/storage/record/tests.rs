//! Round trips, hostile bytes, and the golden bytes of version 1.

use proptest::prelude::*;

use super::*;
use crate::durable::{
    ComponentReplaced, Digest, EntityCalled, EntityId, EntityOperation, EntitySignaled, EventSent, ExecutionId,
    ExecutionRewound, ExecutionStarted, Failure, FailureCause, GenerationKey, HistoryEvent, InstanceId, Json,
    LockHolder, LockRequest, LocksRequested, MessageNumber, ParentInstance, RetryPolicy, RewoundTask, Sender, Tag,
    TaskScheduled, TraceContext, TurnNumber,
};

mod http;

/// The payloads of a record that was just encoded.
struct Kept(Vec<Arc<str>>);

impl Payloads for Kept {
    fn payload(&mut self, number: u32) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.get(number as usize).map(|text| text.as_bytes().to_vec()))
    }
}

fn round_trip(record: &TurnRecord) -> TurnRecord {
    let encoded = encode(record);
    let decoded = decode(&encoded.bytes, Texts::Fetch(&mut Kept(encoded.payloads))).unwrap();
    assert_eq!(head(&encoded.bytes).unwrap(), (record.time, record.summary));
    decoded
}

fn is_corrupt<T: std::fmt::Debug>(result: Result<T, StorageError>) -> bool {
    matches!(result, Err(StorageError::Corrupt(_)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Bytes with a checksum that fits them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn summary(status: RuntimeStatus) -> Summary {
    Summary { status, custom_status: None, next_due: None, outstanding: 0 }
}

fn started() -> ExecutionStarted {
    ExecutionStarted {
        name: "Echo".to_owned(),
        handler: "echo".to_owned(),
        version: Some("v2".to_owned()),
        execution_id: ExecutionId("e1".into()),
        component: Digest([0xab; 32]),
        contract: "1.0.0".to_owned(),
        input: Json::from_stored("{\"a\":1}"),
        parent: Some(ParentInstance {
            name: "P".to_owned(),
            instance_id: "p".to_owned(),
            execution_id: "e0".to_owned(),
            sequence: 3,
        }),
        tags: vec![Tag { key: "k".to_owned(), value: "v".to_owned() }],
        trace_context: Some(TraceContext { traceparent: "00".to_owned(), tracestate: Some("s".to_owned()) }),
        scheduled_start: Some(Timestamp(5)),
    }
}

fn failure() -> Failure {
    Failure {
        kind: "K".to_owned(),
        message: "m".to_owned(),
        details: Some("d".to_owned()),
        causes: vec![FailureCause { kind: "c".to_owned(), message: "n".to_owned() }],
        properties: Some("{}".to_owned()),
        non_retriable: true,
    }
}

fn retry() -> RetryPolicy {
    RetryPolicy {
        max_attempts: 300,
        first_interval_ms: 1.5,
        backoff_coefficient: 2.0,
        max_interval_ms: Some(10.0),
        retry_timeout_ms: Some(20.0),
        retry_kinds: vec!["r".to_owned()],
        never_retry_kinds: vec!["n".to_owned()],
    }
}

/// Every variant and every field.
fn everything() -> TurnRecord {
    let json = |text: &str| Json::from_stored(text);
    TurnRecord {
        time: Timestamp(1_795_217_333_372_123),
        events: vec![
            HistoryEvent::ExecutionStarted(Box::new(started())),
            HistoryEvent::TaskScheduled(TaskScheduled {
                sequence: 0,
                name: "A".to_owned(),
                input: json("1"),
                retry: Some(retry()),
                timeout_ms: Some(30.0),
                tags: vec![Tag { key: "k".to_owned(), value: "v".to_owned() }],
            }),
            HistoryEvent::TaskCompleted { sequence: 1, result: json("2") },
            HistoryEvent::TaskFailed { sequence: 2, failure: failure() },
            HistoryEvent::TimerCreated { sequence: 128, fire_at: Timestamp(-1) },
            HistoryEvent::TimerFired { sequence: u32::MAX },
            HistoryEvent::ActionCanceled { sequence: 5 },
            HistoryEvent::EventRaised { message: MessageNumber(6), name: "E".to_owned(), input: json("3") },
            HistoryEvent::EventConsumed { index: 7 },
            HistoryEvent::CustomStatusSet { status: json("\"ü\"") },
            HistoryEvent::ExecutionCompleted { output: json("null") },
            HistoryEvent::ExecutionFailed { failure: Failure::new("K", "m") },
            HistoryEvent::ExecutionTerminated { reason: "r".to_owned() },
        ],
        summary: Summary {
            status: RuntimeStatus::Suspended,
            custom_status: Some(TurnNumber(9)),
            next_due: Some(Timestamp(i64::MAX)),
            outstanding: 10,
        },
    }
}

/// The variants that joined version 1 later.
fn later() -> TurnRecord {
    TurnRecord {
        time: Timestamp(1_795_217_333_372_123),
        events: vec![
            HistoryEvent::TaskRetryScheduled { sequence: 300, attempt: 2, failure: failure(), due: Timestamp(77) },
            HistoryEvent::TaskRetryStarted { sequence: 300, attempt: 3 },
            HistoryEvent::ExecutionSuspended { reason: "wait".to_owned() },
            HistoryEvent::ExecutionResumed { reason: "go on".to_owned() },
        ],
        summary: summary(RuntimeStatus::Running),
    }
}

/// A component that was replaced.
fn replaced() -> TurnRecord {
    let (handler, contract) = ("echo".to_owned(), "1.0.1".to_owned());
    let replaced = ComponentReplaced { component: Digest([0xcd; 32]), handler, contract };
    let events = vec![HistoryEvent::ComponentReplaced(replaced)];
    TurnRecord { time: Timestamp(1), events, summary: summary(RuntimeStatus::Running) }
}

/// What entities added to version 1.
fn of_entities() -> TurnRecord {
    let json = |text: &str| Json::from_stored(text);
    let entity = |key: &str| EntityId::parse("Counter", key).unwrap();
    TurnRecord {
        time: Timestamp(1_795_217_333_372_123),
        events: vec![
            HistoryEvent::EntityCalled(EntityCalled {
                sequence: 0,
                entity: entity("k"),
                operation: "add".to_owned(),
                input: json("1"),
            }),
            HistoryEvent::EntityCompleted { sequence: 0, result: json("2") },
            HistoryEvent::EntityFailed { sequence: 300, failure: failure() },
            HistoryEvent::EntitySignaled(EntitySignaled {
                sequence: 1,
                entity: entity(""),
                operation: "add".to_owned(),
                input: json("3"),
                scheduled: Some(Timestamp(77)),
            }),
            HistoryEvent::LocksRequested(LocksRequested { sequence: 2, entities: vec![entity("a"), entity("b")] }),
            HistoryEvent::LocksGranted { sequence: 2 },
            HistoryEvent::LocksFailed { sequence: 2, failure: Failure::new("K", "m") },
            HistoryEvent::LocksReleased { sequence: 3, lock: 2 },
            HistoryEvent::EventSent(EventSent {
                sequence: 4,
                instance_id: "i".to_owned(),
                name: "E".to_owned(),
                input: json("4"),
            }),
        ],
        summary: summary(RuntimeStatus::Running),
    }
}

/// What joined with rewinds.
fn rewound() -> TurnRecord {
    let rewound = ExecutionRewound {
        reason: "mended".to_owned(),
        from: TurnNumber(3),
        failure: failure(),
        tasks: vec![
            RewoundTask { sequence: 300, attempt: 1, failure: Some(Failure::new("K", "m")) },
            RewoundTask { sequence: 4, attempt: 2, failure: None },
        ],
        sent: vec![],
    };
    TurnRecord {
        time: Timestamp(1_795_217_333_372_123),
        events: vec![HistoryEvent::ExecutionRewound(Box::new(rewound))],
        summary: summary(RuntimeStatus::Running),
    }
}

/// What joined with rewinds that send nothing twice.
fn rewound_sent() -> TurnRecord {
    let mut record = rewound();
    let HistoryEvent::ExecutionRewound(rewound) = &mut record.events[0] else { unreachable!() };
    rewound.tasks.clear();
    rewound.sent = of_entities().events.into_iter().filter(|event| event.sent().is_some()).collect();
    assert_eq!(rewound.sent.len(), 2);
    record
}

fn holder() -> LockHolder {
    LockHolder {
        instance_id: InstanceId::from_stored("i"),
        execution_id: ExecutionId("e".into()),
        generation: GenerationKey(300),
        sequence: 7,
    }
}

fn entity_record() -> EntityRecord {
    EntityRecord {
        time: Timestamp(1_795_217_333_372_123),
        state: Some(Json::from_stored("[1]")),
        last_operation: Timestamp(5),
        lock: Some(holder()),
        next_due: Some(Timestamp(6)),
    }
}

fn entity_messages() -> Vec<InboxMessage> {
    let execution_id = ExecutionId("e".into());
    let entity = |key: &str| EntityId::parse("Counter", key).unwrap().instance_id();
    vec![
        InboxMessage::EntityOperation(Box::new(EntityOperation {
            id: "id".to_owned(),
            name: "add".to_owned(),
            input: Json::from_stored("1"),
            sender: Some(Sender {
                instance_id: InstanceId::from_stored("i"),
                execution_id: Some(execution_id.clone()),
            }),
            reply: Some(300),
            scheduled: Some(Timestamp(9)),
            trace_context: Some(TraceContext { traceparent: "00".to_owned(), tracestate: Some("s".to_owned()) }),
        })),
        InboxMessage::EntityAnswered {
            execution_id: execution_id.clone(),
            sequence: 1,
            outcome: Ok(Json::from_stored("2")),
        },
        InboxMessage::EntityAnswered { execution_id: execution_id.clone(), sequence: 1, outcome: Err(failure()) },
        InboxMessage::LockRequest(Box::new(LockRequest {
            holder: holder(),
            entities: vec![entity("a"), entity("b")],
            position: 1,
        })),
        InboxMessage::LockAnswered { execution_id: execution_id.clone(), sequence: 2, outcome: Ok(()) },
        InboxMessage::LockAnswered { execution_id, sequence: 2, outcome: Err(failure()) },
        InboxMessage::Unlock { generation: GenerationKey(300), sequence: 7 },
    ]
}

#[test]
fn what_entities_record_is_written_and_read_as_it_always_was() {
    let mut bytes = vec![hex(&encode(&of_entities()).bytes), hex(&encode_entity(&entity_record()).bytes)];
    bytes.extend(entity_messages().iter().map(|message| hex(&encode_message(message))));
    assert_eq!(bytes, GOLDEN_ENTITIES);
    let kept = || Kept(vec![]);
    assert_eq!(decode(&unhex(&bytes[0]), Texts::Fetch(&mut kept())).unwrap(), of_entities());
    assert_eq!(decode_entity(&unhex(&bytes[1]), Texts::Fetch(&mut kept())).unwrap(), entity_record());
    for (text, message) in bytes[2..].iter().zip(entity_messages()) {
        assert_eq!(decode_message(&unhex(text)).unwrap(), message);
    }
    // Whoever reads only the head need not know whose record it is.
    let (time, summary) = head(&unhex(&bytes[1])).unwrap();
    assert_eq!(
        (time, summary.status, summary.next_due),
        (entity_record().time, RuntimeStatus::Running, Some(Timestamp(6)))
    );
}

#[test]
fn a_large_state_is_beside_its_record() {
    let record = EntityRecord { state: Some(Json::string(&"x".repeat(70_000))), ..entity_record() };
    let encoded = encode_entity(&record);
    assert_eq!(encoded.payloads.len(), 1);
    assert_eq!(decode_entity(&encoded.bytes, Texts::Fetch(&mut Kept(encoded.payloads.clone()))).unwrap(), record);
    assert_eq!(decode_entity(&encoded.bytes, Texts::Skip).unwrap().state, Some(Json::null()));
    assert!(is_corrupt(decode_entity(&encoded.bytes, Texts::Fetch(&mut Kept(vec![])))));
}

#[test]
fn hostile_bytes_of_entities_are_corrupt_and_never_panic() {
    let all = [encode(&of_entities()).bytes, encode_entity(&entity_record()).bytes];
    for bytes in all.into_iter().chain(entity_messages().iter().map(encode_message)) {
        let body = &bytes[..bytes.len() - 4];
        for at in 1..body.len() {
            let cut = sealed(body[..at].to_vec());
            assert!(is_corrupt(decode_entity(&cut, Texts::Skip)) && is_corrupt(decode_message(&cut)));
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = body.to_vec();
                changed[at] = byte;
                let changed = sealed(changed);
                let _ = (decode(&changed, Texts::Skip), decode_entity(&changed, Texts::Skip), decode_message(&changed));
            }
        }
    }
}

/// Version 1, for ever: records like this one are on disks.
const GOLDEN: &str = "\
    01b6939ab7b3afb00607010902feffffffffffffffff01030a000d01084563686f086563686f046531ababababababababab\
    ababababababababababababababababababababababab0a312e302e300e7b2261223a317d01047632020250027004653003\
    03026b027604043030050273060a0002000241023101ac02000000000000f83f000000000000004001000000000000244002\
    000000000000344003027204026e00020000000000003e4003026b027600030102320402024b026d010264020263026e0304\
    7b7d04000580010106ffffffff0f0705080c0245023309070a0822c3bc220b086e756c6c0c024b026d000d027276c73aa4";
const GOLDEN_LATER: &str = "\
    01b6939ab7b3afb0060000040eac0202024b026d010264020263026e03047b7d04009a010fac0203100877616974110a676f206f\
    6e1f999dd9";
/// Of the variants that joined last.
const GOLDEN_REPLACED: &str = "\
    010200000117cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd086563686f0a312e302e312ed9ec23";
const GOLDEN_REWOUND: &str = "\
    01b6939ab7b3afb006000001150c6d656e64656403024b026d010264020263026e03047b7d040001ac020101024b026d00000104\
    0200003bfb3c3f";
const GOLDEN_REWOUND_SENT: &str = "\
    01b6939ab7b3afb006000001150c6d656e64656403024b026d010264020263026e03047b7d04000221010e636f756e7465720006\
    6164640233019a01000226040269024502340000f6e8383c";
const GOLDEN_MESSAGE: &str = "\
    010110417070726f76616c08747275658e758f82";

#[test]
fn version_1_is_what_it_always_was() {
    assert_eq!(hex(&encode(&everything()).bytes), GOLDEN);
    assert_eq!(decode(&unhex(GOLDEN), Texts::Skip).unwrap(), everything());
    assert_eq!(hex(&encode(&later()).bytes), GOLDEN_LATER);
    assert_eq!(decode(&unhex(GOLDEN_LATER), Texts::Skip).unwrap(), later());
    assert_eq!(hex(&encode(&replaced()).bytes), GOLDEN_REPLACED);
    assert_eq!(decode(&unhex(GOLDEN_REPLACED), Texts::Skip).unwrap(), replaced());
    assert_eq!(hex(&encode(&rewound()).bytes), GOLDEN_REWOUND);
    assert_eq!(decode(&unhex(GOLDEN_REWOUND), Texts::Skip).unwrap(), rewound());
    assert_eq!(hex(&encode(&rewound_sent()).bytes), GOLDEN_REWOUND_SENT);
    assert_eq!(decode(&unhex(GOLDEN_REWOUND_SENT), Texts::Skip).unwrap(), rewound_sent());
    let message = InboxMessage::EventRaised { name: "Approval".to_owned(), input: Json::from_stored("true") };
    assert_eq!(hex(&encode_message(&message)), GOLDEN_MESSAGE);
    assert_eq!(decode_message(&unhex(GOLDEN_MESSAGE)).unwrap(), message);
}

#[test]
fn statuses_keep_their_numbers() {
    for (number, status) in (0..).zip(RuntimeStatus::ALL) {
        assert_eq!((status_number(status), status_of(number).unwrap()), (number, status));
    }
    assert!(is_corrupt(status_of(8)));
}

#[test]
fn a_step_of_a_sequence_is_small() {
    let task = TaskScheduled {
        sequence: 4,
        name: "E1_SayHello".to_owned(),
        input: Json::from_stored("\"Seattle\""),
        retry: None,
        timeout_ms: None,
        tags: Vec::new(),
    };
    let record = TurnRecord {
        time: Timestamp(1_795_217_333_372_123),
        events: vec![
            HistoryEvent::TaskCompleted { sequence: 3, result: Json::from_stored("\"Hello Tokyo!\"") },
            HistoryEvent::TaskScheduled(task),
        ],
        summary: Summary { outstanding: 1, ..summary(RuntimeStatus::Running) },
    };
    assert!(encode(&record).bytes.len() <= 64, "{}", encode(&record).bytes.len());
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    for bytes in [encode(&everything()).bytes, encode(&later()).bytes, encode(&rewound()).bytes] {
        hurt_everywhere(&bytes);
    }
}

fn hurt_everywhere(bytes: &[u8]) {
    for at in 0..bytes.len() {
        assert!(is_corrupt(decode(&bytes[..at], Texts::Skip)), "cut at {at}");
        for bit in 0..8 {
            let mut hurt = bytes.to_vec();
            hurt[at] ^= 1 << bit;
            assert!(is_corrupt(decode(&hurt, Texts::Skip)), "bit {bit} of byte {at}");
            assert!(is_corrupt(head(&hurt)));
        }
    }
}

#[test]
fn what_the_writer_never_makes_is_refused_whatever_its_checksum() {
    let body = |bytes: &[u8]| decode(&sealed(bytes.to_vec()), Texts::Skip);
    // Version, time 0, Running, no further summary, no events.
    assert!(body(&[1, 0, 0, 0, 0]).is_ok());
    for (what, bytes) in [
        ("nothing", &[][..]),
        ("another version", &[2, 0, 0, 0, 0]),
        ("bytes behind", &[1, 0, 0, 0, 0, 0]),
        ("an unknown status", &[1, 0, 8, 0, 0]),
        ("an unknown summary field", &[1, 0, 0, 99, 0, 0]),
        ("an unknown event", &[1, 0, 0, 0, 1, 99]),
        ("fewer events than claimed", &[1, 0, 0, 0, 2, 6, 1]),
        ("events without end", &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("a varint without end", &[1, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
        ("a text longer than all", &[1, 0, 0, 0, 1, 13, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("a text that is not UTF-8", &[1, 0, 0, 0, 1, 13, 2, 0xff]),
        ("a sequence beyond 32 bits", &[1, 0, 0, 0, 1, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    ] {
        assert!(is_corrupt(body(bytes)), "{what}");
    }
}

#[test]
fn a_payload_that_is_missing_or_another_is_refused() {
    let text: Arc<str> = "x".repeat(INLINE_MAX + 1).into();
    let record = TurnRecord {
        time: Timestamp(1),
        events: vec![HistoryEvent::ExecutionTerminated { reason: text.to_string() }],
        summary: summary(RuntimeStatus::Terminated),
    };
    let encoded = encode(&record);
    assert!(encoded.bytes.len() < 40);
    assert!(has_payloads(&encoded.bytes) && has_payloads(b"damaged"), "to be deleted with it");
    let reason = "x".repeat(INLINE_MAX);
    let inline = TurnRecord { events: vec![HistoryEvent::ExecutionTerminated { reason }], ..record.clone() };
    assert!(!has_payloads(&encode(&inline).bytes));
    assert_eq!(round_trip(&record), record);
    let read = |payloads: Vec<Arc<str>>| decode(&encoded.bytes, Texts::Fetch(&mut Kept(payloads)));
    assert!(is_corrupt(read(vec![])));
    assert!(is_corrupt(read(vec!["short".into()])));
    assert!(is_corrupt(read(vec!["y".repeat(INLINE_MAX + 1).into()])));
    assert!(is_corrupt(decode(&encoded.bytes, Texts::Skip)), "only JSON may be skipped");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![9 => "\\PC{0,12}", 1 => (0usize..3).prop_map(|more| "x".repeat(INLINE_MAX - 1 + more))]
}

fn json() -> impl Strategy<Value = Json> {
    text().prop_map(|text| Json::string(&text))
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..200, any::<u32>()]
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    prop::collection::vec((text(), text()).prop_map(|(key, value)| Tag { key, value }), 0..3)
}

fn any_failure() -> impl Strategy<Value = Failure> {
    let causes =
        prop::collection::vec((text(), text()).prop_map(|(kind, message)| FailureCause { kind, message }), 0..3);
    (text(), text(), prop::option::of(text()), causes, prop::option::of(text()), any::<bool>()).prop_map(
        |(kind, message, details, causes, properties, non_retriable)| Failure {
            kind,
            message,
            details,
            causes,
            properties,
            non_retriable,
        },
    )
}

fn any_task() -> impl Strategy<Value = TaskScheduled> {
    let float = || prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::INFINITE;
    let kinds = || prop::collection::vec(text(), 0..3);
    let retry = (number(), float(), float(), prop::option::of(float()), prop::option::of(float()), kinds(), kinds())
        .prop_map(|(max_attempts, first, backoff, max, timeout, retry_kinds, never_retry_kinds)| RetryPolicy {
            max_attempts,
            first_interval_ms: first,
            backoff_coefficient: backoff,
            max_interval_ms: max,
            retry_timeout_ms: timeout,
            retry_kinds,
            never_retry_kinds,
        });
    (number(), text(), json(), prop::option::of(retry), prop::option::of(float()), tags()).prop_map(
        |(sequence, name, input, retry, timeout_ms, tags)| TaskScheduled {
            sequence,
            name,
            input,
            retry,
            timeout_ms,
            tags,
        },
    )
}

fn any_started() -> impl Strategy<Value = ExecutionStarted> {
    let parent = (text(), text(), text(), number()).prop_map(|(name, instance_id, execution_id, sequence)| {
        ParentInstance { name, instance_id, execution_id, sequence }
    });
    let trace = (text(), prop::option::of(text()))
        .prop_map(|(traceparent, tracestate)| TraceContext { traceparent, tracestate });
    let names = (text(), text(), text(), text(), any::<[u8; 32]>());
    let options =
        (prop::option::of(text()), prop::option::of(parent), tags(), prop::option::of(trace), prop::option::of(time()));
    (names, json(), options).prop_map(
        |((name, handler, execution, contract, digest), input, (version, parent, tags, trace_context, start))| {
            ExecutionStarted {
                name,
                handler,
                version,
                execution_id: ExecutionId(execution.into()),
                component: Digest(digest),
                contract,
                input,
                parent,
                tags,
                trace_context,
                scheduled_start: start,
            }
        },
    )
}

fn any_rewound() -> impl Strategy<Value = ExecutionRewound> {
    let task = (number(), 1..u32::MAX, prop::option::of(any_failure()))
        .prop_map(|(sequence, attempt, failure)| RewoundTask { sequence, attempt, failure });
    let event = (number(), text(), text(), json()).prop_map(|(sequence, instance_id, name, input)| {
        HistoryEvent::EventSent(EventSent { sequence, instance_id, name, input })
    });
    let (tasks, sent) = (prop::collection::vec(task, 0..3), prop::collection::vec(event, 0..3));
    (text(), number(), any_failure(), tasks, sent).prop_map(|(reason, from, failure, tasks, sent)| ExecutionRewound {
        reason,
        from: TurnNumber(from),
        failure,
        tasks,
        sent,
    })
}

fn any_event() -> impl Strategy<Value = HistoryEvent> {
    prop_oneof![
        any_started().prop_map(|started| HistoryEvent::ExecutionStarted(Box::new(started))),
        any_task().prop_map(HistoryEvent::TaskScheduled),
        (number(), json()).prop_map(|(sequence, result)| HistoryEvent::TaskCompleted { sequence, result }),
        (number(), any_failure()).prop_map(|(sequence, failure)| HistoryEvent::TaskFailed { sequence, failure }),
        (number(), time()).prop_map(|(sequence, fire_at)| HistoryEvent::TimerCreated { sequence, fire_at }),
        number().prop_map(|sequence| HistoryEvent::TimerFired { sequence }),
        number().prop_map(|sequence| HistoryEvent::ActionCanceled { sequence }),
        (any::<i64>(), text(), json()).prop_map(|(message, name, input)| HistoryEvent::EventRaised {
            message: MessageNumber(message),
            name,
            input
        }),
        number().prop_map(|index| HistoryEvent::EventConsumed { index }),
        json().prop_map(|status| HistoryEvent::CustomStatusSet { status }),
        json().prop_map(|output| HistoryEvent::ExecutionCompleted { output }),
        any_failure().prop_map(|failure| HistoryEvent::ExecutionFailed { failure }),
        text().prop_map(|reason| HistoryEvent::ExecutionTerminated { reason }),
        (number(), number(), any_failure(), time()).prop_map(|(sequence, attempt, failure, due)| {
            HistoryEvent::TaskRetryScheduled { sequence, attempt, failure, due }
        }),
        (number(), number()).prop_map(|(sequence, attempt)| HistoryEvent::TaskRetryStarted { sequence, attempt }),
        text().prop_map(|reason| HistoryEvent::ExecutionSuspended { reason }),
        text().prop_map(|reason| HistoryEvent::ExecutionResumed { reason }),
        (any::<[u8; 32]>(), text(), text()).prop_map(|(digest, handler, contract)| {
            HistoryEvent::ComponentReplaced(ComponentReplaced { component: Digest(digest), handler, contract })
        }),
        any_rewound().prop_map(|rewound| HistoryEvent::ExecutionRewound(Box::new(rewound))),
    ]
}

prop_compose! {
    fn any_record()(
        time in time(),
        events in prop::collection::vec(any_event(), 0..5),
        status in prop::sample::select(RuntimeStatus::ALL.to_vec()),
        custom_status in prop::option::of(number().prop_map(TurnNumber)),
        next_due in prop::option::of(self::time()),
        outstanding in number(),
    ) -> TurnRecord {
        TurnRecord { time, events, summary: Summary { status, custom_status, next_due, outstanding } }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_survives_its_bytes(record in any_record()) {
        prop_assert_eq!(round_trip(&record), record);
    }

    #[test]
    fn a_message_survives_its_bytes(name in text(), input in json()) {
        let message = InboxMessage::EventRaised { name, input };
        prop_assert_eq!(decode_message(&encode_message(&message)).unwrap(), message);
    }

    #[test]
    fn hostile_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        // With a checksum that fits, behind a version that is known: only the reader's own care is left.
        let hostile = sealed([&[VERSION][..], &bytes].concat());
        let _ = decode(&hostile, Texts::Skip);
        let _ = decode(&hostile, Texts::Fetch(&mut Kept(vec!["x".into()])));
        let _ = decode_message(&hostile);
        prop_assert!(is_corrupt(decode(&bytes, Texts::Skip)));
    }

    #[test]
    fn a_record_with_one_byte_changed_is_read_without_a_panic(
        record in any_record(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let encoded = encode(&record);
        let mut body = encoded.bytes[..encoded.bytes.len() - 4].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = decode(&sealed(body), Texts::Fetch(&mut Kept(encoded.payloads)));
    }
}

/// What entities write, in the order of the test that compares it.
const GOLDEN_ENTITIES: [&str; 9] = [
    "01b6939ab7b3afb0060000091e000e636f756e746572026b066164640231001f00023220ac02024b026d010264020263026e03047b7d040021010e636f756e74657200066164640233019a01002202020e636f756e74657202610e636f756e746572026223022402024b026d002503022604026902450234004f220177",
    "01b6939ab7b3afb00600020c0001280a01065b315d0202690265d8040700454bdf47",
    "010a04696406616464023101026902026503ac020412050430300602730001ea621e",
    "010b02650102326d29c7dc",
    "010c026501024b026d010264020263026e03047b7d0400b0f8a26e",
    "010d02690265d80407021440636f756e74657240611440636f756e7465724062017c1f9397",
    "010e0265023e839dee",
    "010f026502024b026d010264020263026e03047b7d040059d38cf4",
    "0110d804071dbdc9d2",
];
