//! The map, and what each commit does to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use crate::{
    durable::{
        Digest, EntityRecord, ExecutionId, FunctionName, GenerationKey, InboxMessage, InstanceId, InstanceKey,
        MessageNumber, RuntimeStatus, Sequence, Summary, Timestamp, TurnNumber, TurnRecord,
    },
    storage::{
        Begun, ChildStart, Committed, ComponentUse, Delivered, Due, Effects, End, Ended, Expired, Expiry, Fence,
        INBOX_PAGE, Loaded, OpenInstance, Page, Purged, Put, PutMessage, Query, Rewind, Rewound, RewoundInstance,
        Snapshot, Start, Started, StorageError, TimerStatus, TurnCommit, Unchanged, Want, record, rules,
    },
};

/// A task hub's data.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) instances: BTreeMap<InstanceKey, Row>,
    pub(super) ids: BTreeMap<InstanceId, InstanceKey>,
    pub(super) open: BTreeSet<InstanceKey>,
    pub(super) due: BTreeSet<Due>,
    /// Which entities a generation's `lock-entities` actions have locked, or have asked to lock.
    pub(super) locks: BTreeSet<(GenerationKey, Sequence, InstanceId)>,
    components: BTreeMap<Digest, Arc<[u8]>>,
    timers: BTreeMap<FunctionName, TimerStatus>,
    /// How many records of generations that are gone `collect` has not been asked to give back yet.
    garbage: usize,
    pub(super) last_key: i64,
    pub(super) commits: u64,
}

/// An instance with its present (or last) generation.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: InstanceId,
    pub(super) generation: GenerationKey,
    pub(super) created: Timestamp,
    pub(super) last_message: i64,
    /// Empty for an entity; else the first is the record of the start.
    pub(super) records: Vec<Arc<TurnRecord>>,
    /// For an entity its one record, and that one's number.
    pub(super) entity: Option<(TurnNumber, Arc<EntityRecord>)>,
    pub(super) inbox: BTreeMap<MessageNumber, InboxMessage>,
}

impl Row {
    fn last(&self) -> &TurnRecord {
        self.records.last().expect("a generation begins with the record of its start")
    }

    fn summary(&self) -> Summary {
        if let Some((_, record)) = &self.entity {
            return record::entity_summary(record.next_due);
        }
        self.last().summary
    }

    fn status(&self) -> RuntimeStatus {
        self.summary().status
    }

    /// The component that runs it.
    fn component(&self) -> Option<Digest> {
        let replaced = self.records.iter().rev().find_map(|record| rules::replaced_component(record));
        replaced.or_else(|| Some(rules::started(&self.records[0], false).ok()?.component))
    }

    fn snapshot(&self, instance: InstanceKey, want: Want) -> Result<Snapshot, StorageError> {
        let last = self.last();
        let custom_status = match last.summary.custom_status {
            Some(turn) => {
                let record = self.records.get(turn.0 as usize).ok_or_else(|| {
                    StorageError::Corrupt(format!(
                        "instance {:?} has no turn {turn}, though a summary says so",
                        self.id
                    ))
                })?;
                Some(rules::custom_status(record, turn)?)
            }
            None => None,
        };
        Ok(Snapshot {
            instance,
            id: self.id.clone(),
            generation: self.generation,
            started: rules::started(&self.records[0], want.input)?,
            created: self.created,
            updated: last.time,
            summary: last.summary,
            custom_status,
            output: rules::output(last),
            history: want.history.then(|| self.records.clone()),
        })
    }
}

impl Map {
    pub(super) fn start(&mut self, start: &Start) -> Result<Started, StorageError> {
        let taken = self.ids.get(&start.id).copied();
        let is_other = || !taken.is_some_and(|instance| self.admits(start.fence, instance));
        if start.fence.creation.is_some() && is_other() {
            return Ok(Started::Changed);
        }
        if let Some(instance) = taken {
            let row = &self.instances[&instance];
            if !start.policy.admits(row.status()) {
                let execution_id = rules::started(&row.records[0], false)?.execution_id.clone();
                return Ok(Started::Exists { generation: row.generation, status: row.status(), execution_id });
            }
        }
        let parent = match taken.map(|instance| &self.instances[&instance]) {
            Some(row) if !row.status().is_terminal() => rules::ended_child(
                &*rules::started(&row.records[0], false)?,
                "Replaced",
                "another start took its place",
            ),
            Some(_) | None => None,
        };
        let mut delivered = Vec::from_iter(parent.and_then(|message| self.deliver(message)));
        let ends = taken.map(|instance| &self.instances[&instance]).filter(|row| !row.status().is_terminal());
        let ends = ends.filter(|_| !planted!(LocksKeptAtReplacement));
        if let Some(generation) = ends.map(|row| row.generation) {
            delivered.extend(self.release_locks(generation));
        }
        self.last_key += 1;
        let generation = GenerationKey(self.last_key);
        // An instance bears the number of its first generation: one ascending series serves both.
        let instance = taken.unwrap_or(InstanceKey(self.last_key));
        let (replaced, last_message) = match self.drop_generation(instance) {
            Some(old) => (Some(old.generation), old.last_message),
            None => (None, 0),
        };
        let record = Arc::new(rules::start_record(start));
        debug_assert!(record::survives(&record), "a record can be stored");
        if let Some(at) = rules::due_after(&record.summary) {
            self.due.insert(Due { at, generation, instance });
        }
        let row = Row {
            id: start.id.clone(),
            generation,
            created: start.time,
            last_message,
            records: vec![record],
            entity: None,
            inbox: BTreeMap::new(),
        };
        self.instances.insert(instance, row);
        self.ids.insert(start.id.clone(), instance);
        self.open.insert(instance);
        self.commits += 1;
        Ok(Started::Started { instance, generation, replaced, messages_to: MessageNumber(last_message), delivered })
    }

    pub(super) fn commit_turn(&mut self, commit: TurnCommit) -> Result<Committed, StorageError> {
        let TurnCommit {
            fence: _,
            instance,
            generation,
            number,
            record,
            took,
            children,
            messages,
            notify,
            next,
            previous_due,
        } = commit;
        let after = After { instance, children, messages, notify, ends: None };
        let Some(row) = self.instances.get_mut(&instance) else { return Ok(Committed::Fenced) };
        let is_open = !row.status().is_terminal() && row.records.len() == number.0 as usize;
        if row.generation != generation || !(is_open || planted!(TerminalDoesNotAbsorb)) {
            return Ok(Committed::Fenced);
        }
        let parent = rules::started(&row.records[0], false)?.execution_id.clone();
        debug_assert_eq!(previous_due, rules::due_after(&row.summary()), "previous_due is the last summary's next_due");
        debug_assert!(record::survives(&record), "a record can be stored");
        for message in took {
            row.inbox.remove(&message);
        }
        if let Some(next) = next {
            row.inbox.extend(next.carried.iter().cloned());
            self.garbage += row.records.len();
            self.last_key += 1;
            row.generation = GenerationKey(self.last_key);
            row.records = vec![Arc::new(rules::next_record(&next, record.time))];
            let continued = row.generation;
            if let Some(at) = previous_due {
                self.due.remove(&Due { at, generation, instance });
            }
            self.commits += 1;
            let after = After { ends: Some(generation), ..after };
            return Ok(Committed::Continued(continued, self.effects(&parent, after)?));
        }
        let summary = record.summary;
        row.records.push(record);
        if summary.status.is_terminal() {
            if !rules::keeps_inbox(summary.status) {
                row.inbox.clear();
            }
            self.open.remove(&instance);
        }
        if let Some(at) = previous_due {
            self.due.remove(&Due { at, generation, instance });
        }
        if let Some(at) = rules::due_after(&summary) {
            self.due.insert(Due { at, generation, instance });
        }
        self.commits += 1;
        let after = After { ends: summary.status.is_terminal().then_some(generation), ..after };
        Ok(Committed::Committed(self.effects(&parent, after)?))
    }

    /// What a turn does to other instances: starts its children and tells its parent.
    fn effects(&mut self, parent: &ExecutionId, after: After) -> Result<Effects, StorageError> {
        let After { instance, children, messages, notify, ends } = after;
        let mut effects = Effects::default();
        // Events last: what a turn starts it may send them to.
        let is_event = |message: &PutMessage| matches!(message.body, InboxMessage::EventRaised { .. });
        let (events, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(is_event);
        self.send(others, &mut effects);
        for child in children {
            let started = child.start.as_ref().ok().map(|start| self.start(start)).transpose()?;
            if let Some(body) = rules::start_decided(parent, &child, started.as_ref()) {
                let id = self.instances[&instance].id.clone();
                effects.delivered.extend(self.deliver(PutMessage { fence: Fence::default(), id, body }));
            }
            if let (Ok(start), Some(Started::Started { instance, generation, replaced, messages_to, delivered })) =
                (child.start, started)
            {
                effects.delivered.extend(delivered);
                let Start { id, time, started, .. } = start;
                effects.begun.push(Begun { instance, generation, replaced, messages_to, id, started, time });
            }
        }
        self.send(events, &mut effects);
        effects.delivered.extend(notify.and_then(|message| self.deliver(message)));
        if let Some(generation) = ends.filter(|_| !planted!(LocksKeptAtContinueAsNew)) {
            effects.delivered.extend(self.release_locks(generation));
        }
        Ok(effects)
    }

    /// Sends messages, in order.
    pub(super) fn send(&mut self, messages: Vec<PutMessage>, effects: &mut Effects) {
        for message in messages {
            let event = matches!(message.body, InboxMessage::EventRaised { .. }).then(|| message.id.clone());
            match self.deliver(message) {
                Some(delivered) => effects.delivered.push(delivered),
                None => effects.dropped.extend(event),
            }
        }
    }

    /// Unlocks what a generation that ends has locked, or has asked to lock.
    fn release_locks(&mut self, generation: GenerationKey) -> Vec<Delivered> {
        let of = |(holder, _, _): &&(GenerationKey, Sequence, InstanceId)| *holder == generation;
        let locks: Vec<_> = self.locks.iter().filter(of).cloned().collect();
        let unlock = |(generation, sequence, id)| PutMessage {
            fence: Fence::default(),
            id,
            body: InboxMessage::Unlock { generation, sequence },
        };
        locks.into_iter().map(unlock).filter_map(|message| self.deliver(message)).collect()
    }

    /// Puts a message into an inbox, if there is a live instance of that id.
    pub(super) fn deliver(&mut self, message: PutMessage) -> Option<Delivered> {
        let body = message.body.clone();
        match self.put_message(message) {
            Put::Accepted { instance, number, .. } => Some(Delivered { instance, number, body }),
            Put::Ended(_) | Put::NotFound => None,
        }
    }

    pub(super) fn put_message(&mut self, message: PutMessage) -> Put {
        if message.id.is_entity() && !self.reach_entity(&message) {
            return Put::NotFound;
        }
        let found = self.ids.get(&message.id).filter(|instance| self.admits(message.fence, **instance));
        let Some(&instance) = found else { return Put::NotFound };
        let row = self.instances.get_mut(&instance).expect("every id names an instance");
        if row.status().is_terminal() {
            if rules::keeps_message(row.status(), &message.body) {
                row.last_message += 1;
                row.inbox.insert(MessageNumber(row.last_message), message.body);
            }
            return Put::Ended(row.status());
        }
        row.last_message += 1;
        let number = MessageNumber(row.last_message);
        row.inbox.insert(number, message.body);
        self.commits += 1;
        Put::Accepted { instance, generation: row.generation, number }
    }

    /// The instance that an operator means.
    fn meant(&self, fence: Fence, id: &InstanceId) -> Option<InstanceKey> {
        let instance = *self.ids.get(id).filter(|_| !id.is_entity())?;
        self.admits(fence, instance).then_some(instance)
    }

    fn admits(&self, fence: Fence, instance: InstanceKey) -> bool {
        fence.admits(instance, self.instances[&instance].created)
    }

    pub(super) fn end(&mut self, end: &End) -> Result<Ended, StorageError> {
        let Some(instance) = self.meant(end.fence, &end.id) else { return Ok(Ended::NotFound) };
        let row = self.instances.get_mut(&instance).expect("every id names an instance");
        let last = row.summary();
        if last.status.is_terminal() {
            return Ok(Ended::Already(last.status));
        }
        let parent = rules::ended_child(&*rules::started(&row.records[0], false)?, "Terminated", &end.reason);
        row.records.push(Arc::new(rules::end_record(end, row.last().time, last)));
        row.inbox.clear();
        let generation = row.generation;
        if let Some(at) = rules::due_after(&last) {
            self.due.remove(&Due { at, generation, instance });
        }
        self.open.remove(&instance);
        self.commits += 1;
        let mut delivered = Vec::from_iter(parent.and_then(|message| self.deliver(message)));
        if !planted!(LocksKeptAtTerminate) {
            delivered.extend(self.release_locks(generation));
        }
        Ok(Ended::Done { instance, generation, delivered })
    }

    pub(super) fn rewind(&mut self, rewind: Rewind) -> Result<Rewound, StorageError> {
        let is_unchanged = |unchanged: &Unchanged| {
            let row = self.instances.get(&unchanged.instance);
            row.is_some_and(|row| {
                row.generation == unchanged.generation && row.status().is_terminal() != unchanged.live
            })
        };
        let is_failed = |rewound: &RewoundInstance| {
            let row = self.instances.get(&rewound.instance);
            row.is_some_and(|row| row.generation == rewound.failed && row.status() == RuntimeStatus::Failed)
        };
        if !(rewind.unchanged.iter().all(is_unchanged) && rewind.instances.iter().all(is_failed)) {
            return Ok(Rewound::Changed);
        }
        let generations = rewind.instances.iter().map(|rewound| self.rewind_one(rewound)).collect();
        self.commits += 1;
        let mut effects = Effects::default();
        for rewound in rewind.instances {
            let row = &self.instances[&rewound.instance];
            let (id, parent) = (row.id.clone(), rules::started(&row.records[0], false)?.execution_id.clone());
            for body in rewound.messages {
                effects.delivered.extend(self.deliver(PutMessage { fence: Fence::default(), id: id.clone(), body }));
            }
            let after = After {
                instance: rewound.instance,
                children: rewound.children,
                messages: vec![],
                notify: None,
                ends: None,
            };
            let more = self.effects(&parent, after)?;
            effects.begun.extend(more.begun);
            effects.delivered.extend(more.delivered);
        }
        Ok(Rewound::Done { generations, effects })
    }

    fn rewind_one(&mut self, rewound: &RewoundInstance) -> GenerationKey {
        let instance = rewound.instance;
        self.last_key += 1;
        let generation = GenerationKey(self.last_key);
        let row = self.instances.get_mut(&instance).expect("it was found before");
        self.garbage += row.records.len();
        let before = row.records[..rewound.from.0 as usize].iter();
        let records: Vec<_> = before.chain(&rewound.records).cloned().collect();
        debug_assert!(rewound.records.iter().all(|record| record::survives(record)), "a record can be stored");
        (row.generation, row.records) = (generation, records);
        row.inbox.retain(|_, body| !rules::is_settled(body, &rewound.settled));
        if let Some(at) = rules::due_after(&row.summary()) {
            self.due.insert(Due { at, generation, instance });
        }
        self.open.insert(instance);
        generation
    }

    pub(super) fn purge(&mut self, fence: Fence, id: &InstanceId) -> Purged {
        let Some(instance) = self.meant(fence, id) else { return Purged::NotFound };
        let status = self.instances[&instance].status();
        if !status.is_terminal() {
            return Purged::Live(status);
        }
        self.drop_generation(instance);
        self.ids.remove(id);
        self.commits += 1;
        Purged::Done
    }

    pub(super) fn expired(&self, expiry: Expiry, from: Option<InstanceKey>, limit: usize) -> Expired {
        let mut expired = Expired::default();
        let mut last = None;
        for (&instance, row) in self.instances.range((after(from), Bound::Unbounded)) {
            if expired.instances.len() >= limit.max(1) {
                return Expired { next: last, ..expired };
            }
            last = Some(instance);
            let by = if row.entity.is_none() { expiry.of(row.status()) } else { None };
            if by.is_some_and(|by| row.last().time <= by) {
                expired.instances.push((instance, row.generation));
            }
        }
        expired
    }

    pub(super) fn purge_generations(&mut self, instances: &[(InstanceKey, GenerationKey)]) -> u64 {
        let mut purged = 0;
        for (instance, generation) in instances {
            let row = self.instances.get(instance);
            if row.is_some_and(|row| row.generation == *generation && row.status().is_terminal()) {
                let row = self.drop_generation(*instance).expect("the row that was just looked at");
                self.ids.remove(&row.id);
                purged += 1;
            }
        }
        self.commits += u64::from(purged > 0);
        purged
    }

    /// Takes an instance's row out, with its inbox and due entry; its records become garbage.
    fn drop_generation(&mut self, instance: InstanceKey) -> Option<Row> {
        let row = self.instances.remove(&instance)?;
        if let Some(at) = rules::due_after(&row.summary()) {
            self.due.remove(&Due { at, generation: row.generation, instance });
        }
        self.open.remove(&instance);
        self.garbage += row.records.len();
        Some(row)
    }

    pub(super) fn put_component(&mut self, digest: Digest, bytes: Arc<[u8]>) {
        self.components.entry(digest).or_insert_with(|| {
            self.commits += 1;
            bytes
        });
    }

    pub(super) fn component(&self, digest: Digest) -> Option<Arc<[u8]>> {
        self.components.get(&digest).cloned()
    }

    pub(super) fn components(&self) -> Vec<Digest> {
        self.components.keys().copied().collect()
    }

    pub(super) fn component_use(&self, digest: Digest, from: InstanceKey, limit: usize) -> ComponentUse {
        for (examined, (&instance, row)) in self.instances.range(from..).enumerate() {
            if examined == limit {
                return ComponentUse::SearchFrom(instance);
            }
            // Entities run on what is deployed.
            let is_orchestration = row.entity.is_none();
            if is_orchestration
                && rules::needs_component(row.status())
                && row.component().is_none_or(|component| component == digest)
            {
                return ComponentUse::By(instance);
            }
        }
        ComponentUse::Nobody
    }

    pub(super) fn drop_component(&mut self, digest: Digest) {
        self.commits += u64::from(self.components.remove(&digest).is_some());
    }

    pub(super) fn timer_status(&self, function: &FunctionName) -> Option<TimerStatus> {
        self.timers.get(function).copied()
    }

    pub(super) fn put_timer_status(&mut self, function: FunctionName, status: TimerStatus) {
        self.timers.insert(function, status);
        self.commits += 1;
    }

    pub(super) fn collect(&mut self, limit: usize) -> bool {
        // Memory was given back when the generation went; only the pace of it is kept up, so that callers are tested.
        self.garbage = self.garbage.saturating_sub(limit);
        self.garbage > 0
    }

    pub(super) fn snapshot(&self, id: &InstanceId, want: Want) -> Result<Option<Snapshot>, StorageError> {
        let Some(&instance) = self.ids.get(id).filter(|_| !id.is_entity()) else { return Ok(None) };
        self.instances[&instance].snapshot(instance, want).map(Some)
    }

    pub(super) fn list(&self, query: &Query) -> Result<Page, StorageError> {
        let limit = query.limit.max(1);
        let mut instances: Vec<Snapshot> = Vec::new();
        for (&instance, row) in self.instances.range((after(query.after), Bound::Unbounded)) {
            let wanted = row.entity.is_none()
                && query.created_from.is_none_or(|from| row.created >= from)
                && query.created_to.is_none_or(|to| row.created <= to)
                && (query.statuses.is_empty() || query.statuses.contains(&row.status()))
                && query.prefix.as_ref().is_none_or(|prefix| row.id.as_str().starts_with(prefix));
            if !wanted {
                continue;
            }
            if instances.len() == limit {
                return Ok(Page { next: instances.last().map(|last| last.instance), instances });
            }
            instances.push(row.snapshot(instance, Want { input: query.input, history: false })?);
        }
        Ok(Page { instances, next: None })
    }

    pub(super) fn load(&self, instance: InstanceKey) -> Option<Loaded> {
        let row = self.instances.get(&instance).filter(|row| !row.status().is_terminal())?;
        let limit = if row.entity.is_some() { usize::MAX } else { INBOX_PAGE };
        let inbox: Vec<_> = row.inbox.iter().take(limit).map(|(&number, body)| (number, body.clone())).collect();
        let has_more = inbox.len() < row.inbox.len();
        let last_read = inbox.last().map(|(number, _)| *number).filter(|_| has_more);
        Some(Loaded {
            instance,
            id: row.id.clone(),
            generation: row.generation,
            records: row.records.clone(),
            entity: row.entity.clone(),
            inbox,
            messages_to: last_read.unwrap_or(MessageNumber(row.last_message)),
            has_more,
        })
    }

    pub(super) fn open_instances(&self, from: Option<InstanceKey>, limit: usize) -> Vec<OpenInstance> {
        let open = |&instance: &InstanceKey| {
            let row = &self.instances[&instance];
            OpenInstance {
                instance,
                id: row.id.clone(),
                generation: row.generation,
                summary: row.summary(),
                has_messages: !row.inbox.is_empty(),
            }
        };
        self.open.range((after(from), Bound::Unbounded)).take(limit).map(open).collect()
    }

    pub(super) fn due(&self, from: Option<Due>, limit: usize) -> Vec<Due> {
        self.due.range((after(from), Bound::Unbounded)).take(limit).copied().collect()
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits
    }
}

/// What a turn does beyond its own instance.
struct After {
    instance: InstanceKey,
    children: Vec<ChildStart>,
    messages: Vec<PutMessage>,
    notify: Option<PutMessage>,
    /// The generation, if the turn ends it.
    ends: Option<GenerationKey>,
}

/// Where a page begins.
fn after<T>(last: Option<T>) -> Bound<T> {
    last.map_or(Bound::Unbounded, Bound::Excluded)
}
