//! Everything that clients do to one instance id, era after era.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use soloist::{
    durable::{FunctionName, Json, OverridableStates, RuntimeStatus, Tag},
    hub::{ClientError, Hub, OrchestrationStatus, StartNew, StartOutcome, StatusWant},
    storage::{Output, Storage, StorageError},
};
use tokio::sync::watch;

use crate::{
    check,
    dice::{Dice, Life, Of, Tally},
    entity_world,
    faults::Recorder,
    guest::Slots,
    plan::{Phase, Plan, Reuse},
    program::{FRAGILE, Fragile, Step},
    timers::Timers,
};

/// What the clients of a life have.
pub struct Context {
    pub seed: u64,
    pub hub: Arc<Hub>,
    pub life: Arc<Life>,
    pub real: Arc<dyn Storage>,
    pub recorder: Arc<Recorder>,
    pub tally: Arc<Tally>,
    pub plans: Vec<Arc<Plan>>,
    pub entities: Arc<entity_world::Clients>,
    pub timers: Arc<Timers>,
    /// What guests of this life's hub have.
    pub slots: Slots,
}

/// True if a request failed through no fault of its own: it may be sent again.
pub fn may_be_repeated(error: &ClientError) -> bool {
    matches!(error, ClientError::Storage(_) | ClientError::Unavailable(_))
}

impl Context {
    pub fn did(&self, what: &'static str) {
        self.tally.count(Of::Production, what);
    }

    /// The status, however often that has to be asked for.
    async fn status(&self, plan: &Plan) -> Option<OrchestrationStatus> {
        loop {
            match self.hub.status(&plan.id, StatusWant::default()).await {
                Ok(status) => return status,
                Err(error) => assert!(may_be_repeated(&error), "a status read was refused: {error}"),
            }
            self.life.nap_millis(20).await;
        }
    }

    /// Waits until all is recorded of the starts and purges of this id whose effects may have been seen.
    pub async fn settled(&self, id: &str) {
        while self.recorder.in_flight.has(id) {
            self.life.nap_millis(10).await;
        }
    }

    /// True if this era's instance, or one of them, was replaced or purged.
    pub fn was_buried(&self, plan: &Plan) -> bool {
        let judged = plan.truth().judged;
        self.recorder.has_grave(&plan.id, |generation| judged.is_none_or(|judged| generation > judged))
    }
}

/// Sees an instance id through all its eras.
pub async fn client(context: Arc<Context>, plan: Arc<Plan>, seed: u64) {
    let mut dice = Dice::new(seed);
    loop {
        let phase = plan.truth().phase;
        match phase {
            Phase::Runs => {
                run_era(&context, &plan, &mut dice).await;
                check::era(&context, &plan).await;
                plan.truth().phase = Phase::Judged;
            }
            Phase::Judged => {
                plan.quirks.mended.store(false, Ordering::Relaxed);
                if plan.era().copy {
                    start_copy(&context, &plan).await;
                }
                let mut truth = plan.truth();
                truth.forget_starts();
                let next = plan.eras.get(truth.era + 1);
                truth.phase = match next.map(|era| era.reuse) {
                    None => Phase::Done,
                    Some(Reuse::PurgeThenStart) => Phase::Purges,
                    Some(Reuse::Start | Reuse::Restart) => Phase::Starts,
                };
            }
            Phase::Purges => {
                purge(&context, &plan).await;
                plan.truth().phase = Phase::Starts;
            }
            Phase::Starts => {
                start_again(&context, &plan).await;
                plan.truth().next_era();
            }
            Phase::Done => return,
        }
    }
}

/// Whether an instance failed by what can be mended.
fn is_fragile(status: &OrchestrationStatus) -> bool {
    matches!(&status.output, Some(Output::Failed(failure)) if failure.kind == FRAGILE)
}

/// Two operators rewind a mended instance at about the same time.
async fn rewind(context: &Context, plan: &Plan, dice: &mut Dice, what: &'static str) {
    let operators = [dice.below(3), dice.below(3)].map(|wait| async move {
        context.life.nap_millis(wait).await;
        context.hub.rewind(&plan.id, "mended").await
    });
    let answers = futures::future::join_all(operators).await;
    let done = answers.iter().filter(|answer| answer.is_ok()).count();
    for answer in answers {
        match answer {
            Ok(()) => context.did(what),
            // It runs on, has ended meanwhile, or was purged.
            Err(ClientError::Conflict(_) | ClientError::Gone(_)) => {}
            Err(ClientError::NotFound(_)) if context.was_buried(plan) => {}
            Err(error) => assert!(may_be_repeated(&error), "a rewind was refused: {error}"),
        }
    }
    // It may have failed anew: by what its program ends with, by a second child that failed before the mending and tells it
    // only now, or since a guest diverged in the replay that tells whether a failure has an answer.
    let may_fail_anew = |step: &Step| matches!(step, Step::Fail | Step::Fragile(Fragile::Grandchildren));
    let fails_anew = plan.era().replace_after.is_some()
        || plan.program.iter().any(may_fail_anew)
        || context.recorder.is_damaged(&plan.id);
    assert!(
        done < 2 || fails_anew,
        "seed {}: of two rewinds both were made: {} {:?}",
        context.seed,
        plan.id,
        plan.program
    );
    if done > 0 && !fails_anew {
        let seen = context.hub.status(&plan.id, StatusWant::default()).await;
        assert!(!matches!(seen, Ok(Some(seen)) if is_fragile(&seen)), "I10: the next read must show it: {}", plan.id);
    }
}

/// One era, until the instance has ended and nobody sends any more.
async fn run_era(context: &Arc<Context>, plan: &Arc<Plan>, dice: &mut Dice) {
    let mut jobs = Vec::new();
    let era = plan.era().clone();
    let spawn = tokio::spawn::<futures::future::BoxFuture<'static, ()>>;
    if plan.truth().era == 0 {
        for _ in 0..plan.racers {
            let wait = Duration::from_millis(dice.below(4));
            jobs.push(spawn(Box::pin(racer(context.clone(), plan.clone(), wait))));
        }
    }
    if let Some(after) = era.replace_after {
        jobs.push(spawn(Box::pin(replacer(context.clone(), plan.clone(), after))));
    }
    if let Some(after) = era.terminate_after {
        jobs.push(spawn(Box::pin(terminator(context.clone(), plan.clone(), after, era.with_children))));
    }
    if let Some(after) = era.hold_after {
        jobs.push(spawn(Box::pin(holder(context.clone(), plan.clone(), after))));
    }
    // They do not stop at an end: a replacement may follow, and wait for events.
    let (over, is_over) = watch::channel(false);
    let senders = (0..plan.senders)
        .map(|number| spawn(Box::pin(sender(context.clone(), plan.clone(), number, dice.next(), is_over.clone()))));
    let senders: Vec<_> = senders.collect();
    futures::future::try_join_all(jobs).await.expect("a client found an invariant broken");
    let (mut rewinds, mut own_failures) = (0, 0);
    loop {
        let was_accepted = plan.truth().accepted > 0;
        let status = context.status(plan).await;
        context.settled(&plan.id).await;
        match status {
            Some(status) if is_fragile(&status) => {
                plan.quirks.mended.store(true, Ordering::Relaxed);
                rewind(context, plan, dice, "rewind").await;
                rewinds += 1;
                assert!(rewinds < 50, "{} is mended and rewound, and fails again and again", plan.id);
            }
            // By its own doing: it fails again, and has sent nothing twice.
            Some(status) if status.runtime_status == RuntimeStatus::Failed && own_failures < 2 && dice.one_in(2) => {
                own_failures += 1;
                rewind(context, plan, dice, "rewind of a failure of its own").await;
            }
            Some(status) if status.runtime_status.is_terminal() => break,
            Some(_) => {}
            None if context.was_buried(plan) => break,
            None => assert!(!was_accepted, "an accepted start is gone"),
        }
        context.life.nap_millis(500).await;
    }
    // They end what they are at: what they sent must not arrive in the next era.
    over.send_replace(true);
    for sender in senders {
        sender.await.expect("a sender found an invariant broken");
    }
}

/// A start with a label of its own.
fn start_of(context: &Context, plan: &Plan, policy: OverridableStates) -> (StartNew, u64) {
    let scheduled = plan.era().scheduled;
    let mut truth = plan.truth();
    let label = truth.labels;
    truth.labels += 1;
    truth.starts.insert(label, false);
    let tag = |key: &str, value: String| Tag { key: key.into(), value };
    let start = StartNew {
        name: FunctionName::new("Program"),
        instance_id: Some(plan.id.clone()),
        input: Json::null(),
        policy: Some(policy),
        version: None,
        scheduled_start: scheduled.map(|after| soloist::ambient::Ambient::now(&*context.life).plus(after)),
        tags: vec![tag("plan", plan.id.clone()), tag("start", label.to_string())],
        trace_context: None,
    };
    (start, label)
}

/// Sends starts until one is decided. True if it was accepted, with its label.
async fn start(context: &Context, plan: &Plan, policy: OverridableStates) -> (bool, u64) {
    loop {
        let (start, label) = start_of(context, plan, policy);
        let is_scheduled = start.scheduled_start.is_some();
        plan.truth().start_unknown += 1;
        let answer = context.hub.start_new(start).await;
        match answer {
            Ok(outcome) => {
                plan.truth().start_unknown -= 1;
                let accepted = matches!(outcome, StartOutcome::Started { .. });
                context.did(if accepted { "start accepted" } else { "start refused" });
                if accepted && is_scheduled {
                    context.did("scheduled start");
                }
                if accepted {
                    plan.truth().starts.insert(label, true);
                } else {
                    plan.truth().starts.remove(&label);
                }
                return (accepted, label);
            }
            Err(ClientError::Storage(StorageError::Full(_) | StorageError::Busy(_))) => {
                // Nothing was stored.
                let mut truth = plan.truth();
                truth.start_unknown -= 1;
                truth.starts.remove(&label);
            }
            Err(error) => assert!(may_be_repeated(&error), "a start was refused: {error}"),
        }
        context.life.nap_millis(20).await;
    }
}

/// One of those who start an id at the same time.
async fn racer(context: Arc<Context>, plan: Arc<Plan>, wait: Duration) {
    context.life.nap(wait).await;
    let (accepted, _) = start(&context, &plan, OverridableStates::None).await;
    {
        let mut truth = plan.truth();
        truth.accepted += u64::from(accepted);
        truth.refused += u64::from(!accepted);
    }
    let seen = context.hub.status(&plan.id, StatusWant::default()).await;
    context.settled(&plan.id).await;
    let is_gone = matches!(seen, Ok(None)) && !context.was_buried(&plan);
    assert!(!is_gone, "a decided start must be seen by the next read");
}

/// Replaces whatever there is.
async fn replacer(context: Arc<Context>, plan: Arc<Plan>, after: Duration) {
    context.life.nap(after).await;
    if plan.truth().replaced.is_some() {
        return;
    }
    {
        let mut truth = plan.truth();
        truth.replace_sent = true;
        truth.one_start = false;
    }
    let (accepted, label) = start(&context, &plan, OverridableStates::AnyState).await;
    assert!(accepted, "AnyState is never refused");
    context.did("replace");
    let mut truth = plan.truth();
    truth.replaced = Some(label);
    truth.epoch += 1;
}

/// Raises numbered events, one after the other, until the era is over.
async fn sender(context: Arc<Context>, plan: Arc<Plan>, sender: u64, seed: u64, mut is_over: watch::Receiver<bool>) {
    let mut dice = Dice::new(seed);
    loop {
        tokio::select! {
            biased;
            _ = is_over.wait_for(|over| *over) => return,
            // Sometimes one right after the other.
            () = context.life.nap_millis(if dice.one_in(3) { 0 } else { dice.below(3_000) }) => {}
        }
        let (number, was_accepted) = {
            let mut truth = plan.truth();
            let next = &mut truth.next_event[usize::try_from(sender).expect("small")];
            *next += 1;
            let number = sender * 1_000_000 + *next;
            // Until its answer is here nobody knows: a crash leaves it so.
            let sent = crate::plan::Sent { era: truth.era, epoch: truth.epoch, ..Default::default() };
            truth.events.insert(number, sent);
            (number, truth.accepted > 0)
        };
        let payload = Json::parse(number.to_string()).expect("a number");
        let name = if dice.below(2) == 0 { "Evt" } else { "evt" };
        let raised = context.hub.raise_event(&plan.id, name, payload).await;
        context.settled(&plan.id).await;
        match raised {
            Ok(()) => {
                let mut truth = plan.truth();
                let before_replacement = !truth.replace_sent;
                let sent = truth.events.get_mut(&number).expect("put in above");
                (sent.acked, sent.before_replacement) = (true, before_replacement);
                drop(truth);
                context.did("event raised");
            }
            Err(ClientError::Gone(_)) => {}
            Err(ClientError::NotFound(_)) => {
                assert!(!was_accepted || context.was_buried(&plan), "an accepted start is gone");
            }
            Err(error) => assert!(may_be_repeated(&error), "an event was refused: {error}"),
        }
    }
}

async fn terminator(context: Arc<Context>, plan: Arc<Plan>, after: Duration, with_children: bool) {
    context.life.nap(after).await;
    loop {
        let epoch = {
            let mut truth = plan.truth();
            truth.terminate_sent = true;
            truth.epoch
        };
        let hub = &context.hub;
        let answer = match with_children {
            true => hub.terminate_with_children(&plan.id, "simulated").await,
            false => hub.terminate(&plan.id, "simulated").await,
        };
        context.settled(&plan.id).await;
        match answer {
            Ok(()) => {
                plan.truth().terminate_acked = Some(epoch);
                context.did(if with_children { "terminate with children" } else { "terminate" });
                if let Ok(Some(seen)) = hub.status(&plan.id, StatusWant::default()).await {
                    let status = seen.runtime_status;
                    let may_be_replaced = plan.era().replace_after.is_some();
                    assert!(
                        status == RuntimeStatus::Terminated || may_be_replaced,
                        "I10: the next read must show it: {status}"
                    );
                }
                return;
            }
            Err(ClientError::Gone(_)) => return,
            Err(ClientError::NotFound(_)) if context.was_buried(&plan) => return,
            Err(ClientError::NotFound(_)) => {}
            Err(error) => assert!(may_be_repeated(&error), "a terminate was refused: {error}"),
        }
        context.life.nap_millis(100).await;
    }
}

/// Suspends the instance, and lets it go on a while later, however often that takes.
async fn holder(context: Arc<Context>, plan: Arc<Plan>, after: Duration) {
    context.life.nap(after).await;
    for suspend in [true, false] {
        let (resumes, is_resuming) = {
            let truth = plan.truth();
            (truth.resumes, truth.is_resuming)
        };
        loop {
            let hub = &context.hub;
            let answer = match suspend {
                true => hub.suspend(&plan.id, "s").await,
                false => {
                    plan.truth().resumes += 1;
                    hub.resume(&plan.id, "r").await
                }
            };
            context.settled(&plan.id).await;
            match answer {
                Ok(()) => {
                    context.did(if suspend { "suspend" } else { "resume" });
                    break;
                }
                // Held in an earlier life, or replaced meanwhile.
                Err(ClientError::Conflict(_)) => break,
                Err(ClientError::Gone(_)) => return,
                Err(ClientError::NotFound(_)) if context.was_buried(&plan) => return,
                Err(ClientError::NotFound(_)) => {}
                Err(error) => assert!(may_be_repeated(&error), "a hold was refused: {error}"),
            }
            context.life.nap_millis(100).await;
        }
        if suspend {
            if let (Ok(Some(seen)), None) =
                (context.hub.status(&plan.id, StatusWant::default()).await, plan.era().replace_after)
            {
                let status = seen.runtime_status;
                assert!(
                    status == RuntimeStatus::Suspended
                        || status.is_terminal()
                        || is_resuming
                        || plan.truth().resumes > resumes,
                    "I10: the next read must show it: {status}"
                );
            }
            context.life.nap_millis(700).await;
        }
    }
}

/// Deletes what has ended.
async fn purge(context: &Context, plan: &Plan) {
    let judged = plan.truth().judged;
    let is_buried = || context.recorder.has_grave(&plan.id, |generation| Some(generation) == judged);
    loop {
        let purged = context.hub.purge(&plan.id).await;
        context.settled(&plan.id).await;
        match purged {
            Ok(()) => break,
            // By a request whose answer was lost, or by filter.
            Err(ClientError::NotFound(_)) if is_buried() => break,
            Err(error) => assert!(may_be_repeated(&error), "a purge of an ended instance was refused: {error}"),
        }
        context.life.nap_millis(20).await;
    }
    context.did("purge, then start");
    assert!(context.status(plan).await.is_none(), "an acknowledged purge holds");
}

/// Uses an id that has ended once more.
async fn start_again(context: &Context, plan: &Plan) {
    let era = plan.truth().era + 1;
    match plan.eras[era].reuse {
        reuse @ (Reuse::Start | Reuse::PurgeThenStart) => {
            let policy =
                if reuse == Reuse::Start { OverridableStates::NonRunningStates } else { OverridableStates::None };
            let (accepted, _) = start(context, plan, policy).await;
            let mut truth = plan.truth();
            assert!(accepted || truth.start_unknown > 0, "an ended id was refused, and nobody had started it");
            truth.accepted += u64::from(accepted);
            drop(truth);
            if reuse == Reuse::Start {
                context.did("start on an ended id");
            }
        }
        Reuse::Restart => restart(context, plan).await,
    }
}

async fn restart(context: &Context, plan: &Plan) {
    loop {
        let was_unknown = plan.truth().start_unknown > 0;
        plan.truth().start_unknown += 1;
        let restarted = context.hub.restart(&plan.id, false).await;
        context.settled(&plan.id).await;
        match restarted {
            Ok(restarted) => {
                assert_eq!(restarted.instance_id.as_str(), plan.id);
                let mut truth = plan.truth();
                truth.start_unknown -= 1;
                truth.accepted += 1;
                drop(truth);
                return context.did("restart");
            }
            Err(ClientError::Conflict(_)) => {
                assert!(was_unknown, "an ended instance was not restarted");
                plan.truth().start_unknown -= 1;
                return;
            }
            // Purged by filter.
            Err(ClientError::NotFound(_)) => {
                assert!(context.recorder.graves_of(&plan.id) > 0, "an ended instance is gone");
                plan.truth().start_unknown -= 1;
                let (accepted, _) = start(context, plan, OverridableStates::NonRunningStates).await;
                plan.truth().accepted += u64::from(accepted);
                return;
            }
            Err(ClientError::Storage(StorageError::Full(_) | StorageError::Busy(_))) => {
                plan.truth().start_unknown -= 1;
            }
            Err(error) => assert!(may_be_repeated(&error), "a restart was refused: {error}"),
        }
        context.life.nap_millis(20).await;
    }
}

/// Starts a copy under a new id, and ends it again.
async fn start_copy(context: &Context, plan: &Plan) {
    let copy = loop {
        let restarted = context.hub.restart(&plan.id, true).await;
        context.settled(&plan.id).await;
        match restarted {
            Ok(restarted) => break restarted.instance_id,
            Err(ClientError::NotFound(_)) if context.recorder.graves_of(&plan.id) > 0 => return,
            Err(error) => assert!(may_be_repeated(&error), "a restart was refused: {error}"),
        }
        context.life.nap_millis(20).await;
    };
    context.did("restart with a new id");
    assert_ne!(copy.as_str(), plan.id);
}
