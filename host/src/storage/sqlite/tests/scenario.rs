//! Random operations, and the memory backend as the model of what they leave behind.
//!
//! Both backends give out the same numbers for the same operations, so what one shows of itself can be compared with what
//! the other does, to the letter.

use std::sync::Arc;

use crate::{
    durable::{
        ComponentReplaced, Digest, EntityId, EntityOperation, EntityRecord, ExecutionId, ExecutionRewound, Failure,
        GenerationKey, HistoryEvent, InboxMessage, InstanceId, InstanceKey, Json, LockHolder, LockRequest,
        MessageNumber, NextExecution, OverridableStates, ParentInstance, RuntimeStatus, Summary, Timestamp, TurnNumber,
        TurnRecord,
    },
    storage::{
        ChildStart, Committed, ComponentUse, End, Ended, EntityCommit, EntityCommitted, EntityQuery, Fence, Loaded,
        Purged, Put, PutMessage, Query, Rewind, Rewound, RewoundInstance, Start, Started, Storage, StorageError,
        StorageFuture, TurnCommit, Unchanged, Want,
        conformance::{event, id, ok, start_of, wait},
        memory::Memory,
        rules,
    },
};

/// Numbers from a seed (splitmix64).
#[derive(Debug)]
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }
}

/// An operation that changes something.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Start(Start),
    Turn(TurnCommit),
    Put(PutMessage),
    Batch(EntityCommit),
    End(End),
    Rewind(Rewind),
    Purge(InstanceId),
    Component(Digest, Arc<[u8]>),
    DropComponent(Digest),
    Collect(usize),
}

/// What storage answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Started(Started),
    Turn(Committed),
    Put(Put),
    Batch(EntityCommitted),
    Ended(Ended),
    Rewound(Rewound),
    Purged(Purged),
    /// Of an operation whose answer is the backend's own.
    Done,
}

impl Op {
    /// Hands it to storage, at once.
    pub(super) fn submit<'s>(&self, storage: &'s dyn Storage) -> StorageFuture<'s, Answer> {
        fn mapped<'s, T: 's>(
            future: StorageFuture<'s, T>,
            answer: impl FnOnce(T) -> Answer + Send + 's,
        ) -> StorageFuture<'s, Answer> {
            Box::pin(async move { future.await.map(answer) })
        }
        match self.clone() {
            Self::Start(start) => mapped(storage.start(start), Answer::Started),
            Self::Turn(commit) => mapped(storage.commit_turn(commit), Answer::Turn),
            Self::Put(message) => mapped(storage.put_message(message), Answer::Put),
            Self::Batch(commit) => mapped(storage.commit_entity(commit), Answer::Batch),
            Self::End(end) => mapped(storage.end(end), Answer::Ended),
            Self::Rewind(rewind) => mapped(storage.rewind(rewind), Answer::Rewound),
            Self::Purge(id) => mapped(storage.purge(Fence::default(), id), Answer::Purged),
            Self::Component(digest, bytes) => mapped(storage.put_component(digest, bytes), |()| Answer::Done),
            Self::DropComponent(digest) => mapped(storage.drop_component(Fence::default(), digest), |()| Answer::Done),
            Self::Collect(limit) => mapped(storage.collect(limit), |_| Answer::Done),
        }
    }

    /// The kind, for counting.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Turn(TurnCommit { next: Some(_), .. }) => "continue-as-new",
            Self::Turn(turn) if !turn.children.is_empty() => "turn with a child",
            Self::Turn(turn) if !turn.messages.is_empty() => "turn with a message",
            Self::Turn(_) => "turn",
            Self::Put(message) if message.id.is_entity() => "operation",
            Self::Put(_) => "message",
            Self::Batch(_) => "batch",
            Self::End(_) => "end",
            Self::Rewind(_) => "rewind",
            Self::Purge(_) => "purge",
            Self::Component(..) => "component",
            Self::DropComponent(_) => "component dropped",
            Self::Collect(_) => "collect",
        }
    }
}

/// What a storage shows of itself, line by line.
#[derive(Debug, PartialEq)]
pub(super) struct Picture(Vec<String>);

impl Picture {
    pub(super) fn of(storage: &dyn Storage) -> Result<Self, StorageError> {
        let mut lines = Vec::new();
        let page = wait(storage.list(Query { limit: 1000, input: true, ..Query::default() }))?;
        for listed in page.instances {
            let seen = wait(storage.snapshot(listed.id.clone(), Want { input: true, history: true }))?;
            let loaded = wait(storage.load(listed.instance))?;
            lines.push(format!("{listed:?}\n{seen:?}\n{loaded:?}"));
        }
        let query = EntityQuery { limit: 1000, state: true, ..EntityQuery::default() };
        lines.extend(wait(storage.entities(query))?.entities.iter().map(|entity| format!("{entity:?}")));
        for open in wait(storage.open_instances(None, 1000))? {
            lines.push(format!("{open:?}"));
            if open.id.is_entity() {
                lines.push(format!("{:?}", wait(storage.load(open.instance))?));
            }
        }
        lines.extend(wait(storage.due(None, 1000))?.iter().map(|due| format!("{due:?}")));
        for number in 0..COMPONENTS {
            let component = wait(storage.component(component(number).0))?;
            lines.push(format!("component {number}: {:?}", component.map(|bytes| crc32fast::hash(&bytes))));
        }
        lines.push(format!("{:?}", wait(storage.components())?));
        for digest in (0..COMPONENTS).map(|number| component(number).0).chain([STARTED_ON]) {
            let mut from = InstanceKey(i64::MIN);
            loop {
                // Every user, one after the other, in slices of two.
                let found = wait(storage.component_use(digest, from, 2))?;
                lines.push(format!("{digest}: {found:?}"));
                match found {
                    ComponentUse::By(user) => from = InstanceKey(user.0 + 1),
                    ComponentUse::SearchFrom(next) => from = next,
                    ComponentUse::Nobody => break,
                }
            }
        }
        Ok(Self(lines))
    }
}

/// What storage must hold: the operations that took effect, and the memory backend after them.
pub(super) struct Model {
    log: Vec<Op>,
    memory: Memory,
}

impl Model {
    pub(super) fn new() -> Self {
        Self { log: Vec::new(), memory: Memory::new() }
    }

    /// Takes an operation over, with what it must have been answered.
    pub(super) fn apply(&mut self, op: &Op) -> Answer {
        self.log.push(op.clone());
        ok(op.submit(&self.memory))
    }

    /// Another model that has the first of these operations, too.
    pub(super) fn after(&self, ops: &[Op]) -> Self {
        let mut model = Self::new();
        for op in self.log.iter().chain(ops) {
            model.apply(op);
        }
        model
    }

    pub(super) fn picture(&self) -> Picture {
        Picture::of(&self.memory).unwrap()
    }

    /// Up to `limit` operations that make sense now; none of them builds on another.
    pub(super) fn invent(&self, random: &mut Random, limit: usize) -> Vec<Op> {
        let mut ids: Vec<u64> = (0..6).collect();
        let mut ops = Vec::new();
        for _ in 0..limit {
            let chosen = ids.remove(random.below(ids.len() as u64) as usize);
            let time = self.log.len() as i64 + 1;
            ops.push(if random.percent(25) {
                self.invent_for_entity(random, &format!("k{chosen}"), time)
            } else {
                self.invent_for(random, &format!("a{chosen}"), time)
            });
        }
        ops
    }

    fn invent_for(&self, random: &mut Random, text: &str, time: i64) -> Op {
        let seen = ok(self.memory.snapshot(id(text), Want::default()));
        let live = seen.as_ref().and_then(|seen| ok(self.memory.load(seen.instance)));
        match (random.below(100), live) {
            (0..4, _) => {
                let (digest, bytes) = component(random.below(COMPONENTS));
                if random.percent(30) { Op::DropComponent(digest) } else { Op::Component(digest, bytes) }
            }
            (4..9, _) => Op::Collect(1 + random.below(5) as usize),
            (9..70, None) if seen.as_ref().is_some_and(|seen| seen.summary.status == RuntimeStatus::Failed) => {
                Op::Rewind(self.rewind(random, text, time))
            }
            (9..45, None) => Op::Purge(id(text)),
            (9..13, Some(_)) => {
                let reason = format!("reason {time}");
                Op::End(End { fence: Fence::default(), id: id(text), time: Timestamp(time), reason })
            }
            (13..30, Some(_)) => Op::Put(event(text, &format!("event {time}"))),
            (30..95, Some(live)) => Op::Turn(turn(random, &live, time)),
            _ => Op::Start(start(random, text, time)),
        }
    }
}

impl Model {
    /// A rewind of a failed instance: some of its last turns are another, and the last one is the rewind's.
    fn rewind(&self, random: &mut Random, text: &str, time: i64) -> Rewind {
        let seen = ok(self.memory.snapshot(id(text), Want { input: true, history: true })).unwrap();
        let records = seen.history.unwrap();
        let from = records.len() - 1 - random.below((records.len() as u64 - 1).min(3)) as usize;
        let failure = Failure::new("Kind", "text");
        let rewound = ExecutionRewound {
            reason: "again".to_owned(),
            from: TurnNumber(from as u32),
            failure,
            tasks: vec![],
            sent: vec![],
        };
        let last = records.last().unwrap();
        let made = |events, next_due| {
            let custom_status = last.summary.custom_status.filter(|turn| (turn.0 as usize) < from);
            let summary = Summary { status: RuntimeStatus::Running, custom_status, next_due, outstanding: 1 };
            Arc::new(TurnRecord { time: last.time.max(Timestamp(time)), events, summary })
        };
        let mut tail: Vec<_> = records[from..records.len() - 1]
            .iter()
            .map(|_| made(vec![HistoryEvent::TaskCompleted { sequence: 7, result: payload(random) }], None))
            .collect();
        let due = random.percent(40).then(|| Timestamp(time + random.below(50) as i64));
        tail.push(made(vec![HistoryEvent::ExecutionRewound(Box::new(rewound))], due));
        let other = ok(self.memory.snapshot(id(&format!("a{}", random.below(6))), Want::default()));
        let unchanged = other.filter(|other| other.id.as_str() != text && random.percent(50));
        let unchanged = unchanged.map(|other| Unchanged {
            instance: other.instance,
            generation: other.generation,
            live: random.percent(90) != other.summary.status.is_terminal(),
        });
        let loaded = Loaded {
            instance: seen.instance,
            id: seen.id,
            generation: seen.generation,
            records: records.clone(),
            inbox: vec![],
            messages_to: MessageNumber(0),
            has_more: false,
            entity: None,
        };
        let InboxMessage::EventRaised { name, input } = event(text, "rewound").body else { unreachable!() };
        let instance = RewoundInstance {
            instance: seen.instance,
            failed: if random.percent(5) { GenerationKey(0) } else { seen.generation },
            from: TurnNumber(from as u32),
            records: tail,
            settled: (0..3).filter(|_| random.percent(50)).collect(),
            messages: if random.percent(30) { vec![InboxMessage::EventRaised { name, input }] } else { vec![] },
            children: if random.percent(30) { vec![child(random, &loaded, 7, time)] } else { vec![] },
        };
        Rewind { fence: Fence::default(), instances: vec![instance], unchanged: unchanged.into_iter().collect() }
    }
}

impl Model {
    fn invent_for_entity(&self, random: &mut Random, key: &str, time: i64) -> Op {
        let id = EntityId::parse("e", key).unwrap().instance_id();
        let open = ok(self.memory.open_instances(None, 1000)).into_iter().find(|open| open.id == id);
        match open.and_then(|open| ok(self.memory.load(open.instance))) {
            Some(loaded) if random.percent(60) => Op::Batch(batch(random, &loaded, time)),
            _ => Op::Put(PutMessage { fence: Fence::default(), id, body: operation(random, time) }),
        }
    }
}

fn operation(random: &mut Random, time: i64) -> InboxMessage {
    InboxMessage::EntityOperation(Box::new(EntityOperation {
        id: format!("operation {time}"),
        name: "set".to_owned(),
        input: payload(random),
        sender: None,
        reply: None,
        scheduled: random.percent(20).then(|| Timestamp(time + 10)),
        trace_context: None,
    }))
}

fn batch(random: &mut Random, loaded: &Loaded, time: i64) -> EntityCommit {
    let (last, before) = loaded.entity.as_ref().unwrap();
    let number = if random.percent(5) { *last } else { last.next() };
    let count = random.below(3) as usize;
    let lock = random.percent(20).then(|| holder("a0", GenerationKey(1), 0));
    let record = EntityRecord {
        time: before.time.max(Timestamp(time)),
        state: random.percent(60).then(|| payload(random)),
        last_operation: Timestamp(time),
        lock,
        next_due: random.percent(30).then(|| Timestamp(time + random.below(50) as i64)),
    };
    let messages = if random.percent(30) { vec![message(random, time)] } else { Vec::new() };
    let other = format!("a{}", random.below(6));
    let starts = if random.percent(15) { vec![start(random, &other, time)] } else { Vec::new() };
    EntityCommit {
        fence: Fence::default(),
        instance: loaded.instance,
        generation: loaded.generation,
        number,
        record: Arc::new(record),
        took: loaded.inbox.iter().take(count).map(|(number, _)| *number).collect(),
        messages,
        starts,
        previous_due: before.next_due,
    }
}

/// A message to an entity or an orchestration, that may be there or not.
fn message(random: &mut Random, time: i64) -> PutMessage {
    if random.percent(40) {
        return event(&format!("a{}", random.below(6)), &format!("sent {time}"));
    }
    let id = EntityId::parse("e", &format!("k{}", random.below(6))).unwrap().instance_id();
    PutMessage { fence: Fence::default(), id, body: operation(random, time) }
}

fn holder(text: &str, generation: GenerationKey, sequence: u32) -> LockHolder {
    LockHolder { instance_id: id(text), execution_id: ExecutionId("e".into()), generation, sequence }
}

/// What a turn may say about locks: it asks for some, or releases one.
fn lock(random: &mut Random, live: &Loaded, sequence: u32) -> PutMessage {
    let entity = |n: u64| EntityId::parse("e", &format!("k{n}")).unwrap().instance_id();
    let (first, generation) = (random.below(5), live.generation);
    let body = if random.percent(60) {
        let entities = vec![entity(first), entity(first + 1)];
        let holder = holder(live.id.as_str(), generation, sequence);
        InboxMessage::LockRequest(Box::new(LockRequest { holder, entities, position: 0 }))
    } else {
        InboxMessage::Unlock { generation, sequence: sequence.saturating_sub(1) }
    };
    PutMessage { fence: Fence::default(), id: entity(first), body }
}

const COMPONENTS: u64 = 3;

/// What [`start_of`] starts instances on.
const STARTED_ON: Digest = Digest([7; 32]);

pub(super) fn component(number: u64) -> (Digest, Arc<[u8]>) {
    use sha2::{Digest as _, Sha256};
    let bytes: Arc<[u8]> = (0..90 * (number + 1).pow(4)).map(|at| (at % 251) as u8).collect();
    (Digest(Sha256::digest(&bytes).into()), bytes)
}

/// A text that is short, or fills some pages, or is stored beside its record.
fn payload(random: &mut Random) -> Json {
    let length = match random.below(40) {
        0 => 70_000,
        1..6 => 6000,
        _ => random.below(60) as usize,
    };
    Json::string(&"p".repeat(length))
}

fn start(random: &mut Random, text: &str, time: i64) -> Start {
    let policy =
        random.pick(&[OverridableStates::NonRunningStates, OverridableStates::AnyState, OverridableStates::None]);
    let mut start = start_of(text, policy, time);
    let started = Arc::get_mut(&mut start.started).unwrap();
    started.input = payload(random);
    started.scheduled_start = random.percent(20).then(|| Timestamp(time + 1000));
    start
}

fn turn(random: &mut Random, live: &Loaded, time: i64) -> TurnCommit {
    let last = live.records.last().unwrap();
    let next_number = TurnNumber(live.records.len() as u32);
    // Some turns come a second time: they must be fenced.
    let number = if random.percent(5) { TurnNumber(next_number.0 - 1) } else { next_number };
    let took: Vec<_> = live.inbox.iter().take(random.below(3) as usize).cloned().collect();
    let status = match random.below(20) {
        0..2 => RuntimeStatus::Completed,
        2..4 => RuntimeStatus::Failed,
        4 => RuntimeStatus::Suspended,
        _ => RuntimeStatus::Running,
    };
    let mut events: Vec<_> = took.iter().map(|(number, body)| raised(*number, body)).collect();
    events.push(HistoryEvent::TaskCompleted { sequence: number.0, result: payload(random) });
    let mut custom_status = last.summary.custom_status;
    if random.percent(15) {
        events.push(HistoryEvent::CustomStatusSet { status: payload(random) });
        custom_status = Some(number);
    }
    if random.percent(15) {
        let (handler, contract) = ("echo".to_owned(), "1.0.0".to_owned());
        let (component, _) = component(random.below(COMPONENTS));
        events.push(HistoryEvent::ComponentReplaced(ComponentReplaced { component, handler, contract }));
    }
    match status {
        RuntimeStatus::Completed => events.push(HistoryEvent::ExecutionCompleted { output: payload(random) }),
        RuntimeStatus::Failed => events.push(HistoryEvent::ExecutionFailed { failure: Failure::new("Kind", "text") }),
        _ => {}
    }
    let next_due = match random.below(3) {
        0 => None,
        1 => last.summary.next_due,
        _ => Some(Timestamp(time + random.below(50) as i64)),
    };
    let next_due = next_due.filter(|_| !status.is_terminal());
    let summary = Summary { status, custom_status, next_due, outstanding: random.below(3) as u32 };
    let next = (status == RuntimeStatus::Running && random.percent(15)).then(|| {
        let carried = took.iter().filter(|_| random.percent(70)).cloned().collect();
        let custom_status = random.percent(30).then(|| payload(random));
        let mut started = start_of("any", OverridableStates::AnyState, time).started;
        Arc::get_mut(&mut started).unwrap().input = payload(random);
        Arc::new(NextExecution { started, custom_status, carried })
    });
    let children = if random.percent(12) { vec![child(random, live, number.0, time)] } else { Vec::new() };
    let mut messages = if random.percent(15) { vec![message(random, time)] } else { Vec::new() };
    if random.percent(15) {
        messages.push(lock(random, live, number.0));
    }
    TurnCommit {
        fence: Fence::default(),
        instance: live.instance,
        generation: live.generation,
        number,
        record: Arc::new(TurnRecord { time: last.time.max(Timestamp(time)), events, summary }),
        took: took.iter().map(|(number, _)| *number).collect(),
        children,
        messages,
        notify: None,
        next,
        previous_due: rules::due_after(&last.summary),
    }
}

fn raised(message: MessageNumber, body: &InboxMessage) -> HistoryEvent {
    match body.clone() {
        InboxMessage::EventRaised { name, input } => HistoryEvent::EventRaised { message, name, input },
        InboxMessage::ChildEnded { sequence, outcome: Ok(result), .. } => {
            HistoryEvent::ChildCompleted { sequence, result }
        }
        InboxMessage::ChildEnded { sequence, outcome: Err(failure), .. } => {
            HistoryEvent::ChildFailed { sequence, failure }
        }
        InboxMessage::EntityOperation(_)
        | InboxMessage::EntityAnswered { .. }
        | InboxMessage::LockRequest(_)
        | InboxMessage::LockAnswered { .. }
        | InboxMessage::Unlock { .. } => panic!("nobody sends these here: {body:?}"),
    }
}

/// A child of any id: one that is free, taken, or the parent's own.
fn child(random: &mut Random, live: &Loaded, sequence: u32, time: i64) -> ChildStart {
    let text = format!("a{}", random.below(6));
    let mut start = start(random, &text, time);
    let parent = ParentInstance {
        name: "Echo".to_owned(),
        instance_id: live.id.as_str().to_owned(),
        execution_id: rules::started(&live.records[0], false).unwrap().execution_id.as_str().to_owned(),
        sequence,
    };
    Arc::get_mut(&mut start.started).unwrap().parent = Some(parent);
    ChildStart { sequence, detached: random.percent(30), start: Ok(start) }
}

/// What no backend shows, but a whole file obeys.
pub(super) fn assert_sound(conn: &rusqlite::Connection) {
    let count = |sql: &str| conn.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    let found: String = conn.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
    let known = "(SELECT generation FROM instance UNION SELECT generation FROM garbage)";
    // A failed instance keeps its inbox for a rewind.
    let open = "(SELECT key FROM instance WHERE status IS NULL OR status = 3)";
    let open_generation = "(SELECT generation FROM instance WHERE status IS NULL)";
    for (what, sql) in [
        ("records of nobody", format!("SELECT count(*) FROM history WHERE generation NOT IN {known}")),
        ("payloads of no record", "SELECT count(*) FROM payload p WHERE NOT EXISTS (SELECT 1 FROM history h WHERE h.generation = p.generation AND h.turn = p.turn)".to_owned()),
        ("messages for nobody", format!("SELECT count(*) FROM inbox WHERE instance NOT IN {open}")),
        ("due entries of nobody", format!("SELECT count(*) FROM due WHERE generation NOT IN {open_generation}")),
        ("instances that are garbage", "SELECT count(*) FROM instance WHERE generation IN (SELECT generation FROM garbage)".to_owned()),
        ("replaced components of nobody", format!("SELECT count(*) FROM meta WHERE name LIKE 'replaced:%' AND CAST(substr(name, 10) AS INTEGER) NOT IN {known}")),
        ("locks of nobody", format!("SELECT count(*) FROM lock WHERE generation NOT IN {open_generation}")),
        ("keys beyond the last", "SELECT count(*) FROM instance WHERE max(key, generation) > (SELECT value FROM meta WHERE name = 'last_key')".to_owned()),
        ("messages beyond the last", "SELECT count(*) FROM inbox WHERE message > (SELECT last_message FROM instance WHERE key = inbox.instance)".to_owned()),
    ] {
        assert_eq!(count(&sql), 0, "{what}");
    }
}
