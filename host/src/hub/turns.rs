//! Running a turn's code: a place among the turns that run at once, a guest, its replay, the turn.

use std::{sync::Arc, time::Duration};

use tokio::sync::SemaphorePermit;

use super::{
    GuestError, GuestSlot, OrchestratorCall, OrchestratorGuest,
    cell::Held,
    replacement::log_divergence,
    worker::{Counters, Inner},
};
use crate::{
    durable::{Digest, Failure, GuestEvent, GuestOutcome, GuestTurn, Instance, Replay, Turn, TurnRecord},
    flight::{Call, CallKind},
};

/// So long a new guest waits for a slot that comes free by itself. Then a guest that rests goes for it or, if none does, the
/// next that would rest or begin another turn.
const SLOTS_GIVEN_AFTER: Duration = Duration::from_millis(250);

/// Why a guest ran no turn, through no fault of its code.
pub(super) enum Interrupted {
    /// It may run later.
    Later(String),
    /// It cannot.
    Stall(String),
}

/// What a turn hands to a guest.
struct Handed {
    /// What a new guest is handed before.
    replay: Option<Replay>,
    /// The turn's events; those of a rewound execution's first turn begin with the turns that it is handed once more.
    events: Vec<GuestEvent>,
    /// How many turns these are.
    turns: u32,
}

impl Handed {
    fn new(instance: &Instance, records: Option<&[Arc<TurnRecord>]>, turn: &Turn) -> Self {
        let (replay, mut events) = match (records, instance.rerun()) {
            (Some(records), Some(from)) => Replay::rerun(records, from),
            (Some(records), None) => (Replay::of(records), vec![]),
            (None, _) => (None, vec![]),
        };
        events.extend(turn.guest_events(instance));
        let turns = events.iter().filter(|event| matches!(event, GuestEvent::TurnStarted(_))).count();
        Self { replay, events, turns: u32::try_from(turns).unwrap_or(u32::MAX) }
    }
}

impl Inner {
    /// Runs a turn's code, if it has something for it. Waits for a place among the turns that run.
    pub(super) async fn run_guest(
        &self,
        held: &mut Held,
        records: Option<&[Arc<TurnRecord>]>,
        turn: &Turn,
    ) -> Result<Result<GuestTurn, Failure>, Interrupted> {
        let instance = held.instance.as_deref().expect("a turn has begun");
        let nothing = GuestTurn { actions: vec![], outcome: GuestOutcome::Waiting };
        if !turn.needs_guest() {
            return Ok(Ok(nothing));
        }
        let handed = Handed::new(instance, records, turn);
        if handed.events.is_empty() {
            return Ok(Ok(nothing));
        }
        let execution = instance.execution();
        let alone = match self.parking.is_suspect(&execution.execution_id, None) {
            true => Some((execution.execution_id.clone(), self.parking.alone().await)),
            false => None,
        };
        let (slot, _place) = match held.guest {
            Some(_) => (None, self.place().await),
            None => {
                let (slot, place) = self.slot_and_place().await;
                (Some(slot), place)
            }
        };
        let flight = self.parking.begin(&Call {
            kind: CallKind::Turn,
            execution: execution.execution_id.as_str(),
            number: instance.last_turn().next().0,
            attempt: 1,
            function: &execution.name,
        });
        let call = self.call_guest(held, slot, handed);
        match alone {
            None => call.await,
            Some((execution_id, alone)) => {
                self.parking.run_alone(&*self.ambient, (execution_id, None), alone, &flight, call).await
            }
        }
    }

    /// A place among the turns that run at once.
    async fn place(&self) -> SemaphorePermit<'_> {
        self.turns.acquire().await.expect("the semaphore is never closed")
    }

    /// Room for a guest, and a place to run it. In this order: guests that wait for a place have their slots, so if those with
    /// places waited for slots, all might wait for each other.
    pub(super) async fn slot_and_place(&self) -> (GuestSlot, SemaphorePermit<'_>) {
        let _fresh = self.fresh.acquire().await.expect("the semaphore is never closed");
        let mut slot = self.executor.slot();
        let slot = tokio::select! {
            biased;
            slot = &mut slot => slot,
            () = self.ambient.sleep(SLOTS_GIVEN_AFTER) => {
                let _waiter = self.residency.wait();
                if let Some(victim) = self.residency.first_to_go() {
                    self.evict(victim);
                }
                slot.await
            }
        };
        (slot, self.place().await)
    }

    async fn call_guest(
        &self,
        held: &mut Held,
        slot: Option<GuestSlot>,
        handed: Handed,
    ) -> Result<Result<GuestTurn, Failure>, Interrupted> {
        let instance = held.instance.as_deref().expect("a turn has begun");
        if let Some(slot) = slot {
            let execution = instance.execution();
            let call = OrchestratorCall {
                component: execution.component,
                handler: execution.handler.clone(),
                name: execution.name.clone(),
                instance_id: instance.id().clone(),
                execution_id: execution.execution_id.clone(),
            };
            match self.executor.orchestrator(call, slot).await {
                Ok(guest) => held.guest = Some(guest),
                Err(GuestError::Code(failure)) => return Ok(Err(failure)),
                Err(GuestError::Unavailable(text)) => return Err(Interrupted::Later(text)),
            }
            if let Some(replay) = handed.replay {
                let guest = held.guest.as_mut().expect("it has just been made");
                self.replay(instance, instance.execution().component, guest.as_mut(), &replay).await?;
            }
        } else {
            Counters::add(&self.counters.resident_turns, 1);
        }
        Counters::add(&self.counters.turns, 1);
        let guest = held.guest.as_mut().expect("held, or made above");
        match guest.turn(false, handed.turns, &handed.events).await {
            Ok(result) => {
                if result.outcome != GuestOutcome::Waiting {
                    // Nobody asks it again. Given back before the commit, its memory is warm for the next one.
                    held.guest = None;
                }
                Ok(Ok(result))
            }
            Err(error) => {
                held.guest = None;
                match error {
                    GuestError::Code(failure) => Ok(Err(failure)),
                    GuestError::Unavailable(text) => Err(Interrupted::Later(text)),
                }
            }
        }
    }

    /// Replays a history on a new guest of a component.
    pub(super) async fn replay(
        &self,
        instance: &Instance,
        component: Digest,
        guest: &mut dyn OrchestratorGuest,
        replay: &Replay,
    ) -> Result<(), Interrupted> {
        Counters::add(&self.counters.replays, 1);
        Counters::add(&self.counters.replayed_turns, u64::from(replay.turns));
        match guest.turn(true, replay.turns, &replay.events).await {
            Ok(result) => replay.check(&result).map_err(|divergence| {
                log_divergence(instance, component, &divergence);
                Interrupted::Stall(divergence.to_string())
            }),
            // The code has done this before: what stops it now is not its own doing, so the instance does not fail.
            Err(GuestError::Code(failure)) => {
                Err(Interrupted::Stall(format!("replay was stopped: {}: {}", failure.kind, failure.message)))
            }
            Err(GuestError::Unavailable(text)) => Err(Interrupted::Later(text)),
        }
    }
}
