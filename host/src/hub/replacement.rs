//! Another component for a live instance: people deploy corrected code and resume the instance that stalls.

use std::sync::Arc;

use tracing::{error, info};

use super::{
    GuestError, OrchestratorCall,
    cell::{Cell, Held},
    turns::Interrupted,
    worker::{Inner, Round},
};
use crate::{
    durable::{ComponentReplaced, Digest, Divergence, FunctionName, Instance, Message, Replay, TurnRecord},
    flight::{Call, CallKind},
};

/// What came of trying the component that is deployed now.
pub(super) enum Tried {
    /// It is the one that the instance runs on, or there is none.
    Same,
    /// Its replay does not agree with the history, or cannot be made: the text says why.
    Disagrees(String),
    /// The round is over.
    Round(Round),
}

impl Inner {
    /// Replays an instance on the component that is deployed for its function now, if that is another one; if the replay
    /// agrees with the whole history, the instance runs on it from here on, which is recorded.
    pub(super) async fn try_deployed(
        self: &Arc<Self>,
        cell: &Arc<Cell>,
        held: &mut Held,
        records: &[Arc<TurnRecord>],
        messages: &[Message],
    ) -> Tried {
        let instance = held.instance.as_deref().expect("it has been loaded");
        let execution = instance.execution();
        let Some(deployed) = self.deployed_orchestrator(&FunctionName::new(&execution.name)) else {
            return Tried::Same;
        };
        if (deployed.component, &deployed.handler) == (execution.component, &execution.handler) {
            return Tried::Same;
        }
        let replaced = ComponentReplaced {
            component: deployed.component,
            handler: deployed.handler.clone(),
            contract: deployed.contract.clone(),
        };
        match self.agrees(instance, &replaced, records).await {
            Ok(()) => {}
            Err(Interrupted::Stall(text)) => {
                return Tried::Disagrees(format!("on component {}, which is deployed now: {text}", replaced.component));
            }
            Err(Interrupted::Later(why)) => {
                cell.lock().try_deployed = true;
                return Tried::Round(Round::Later { messages: messages.to_vec(), why });
            }
        }
        info!(
            instance_id = %instance.id(), name = %execution.name, from = %execution.component, to = %replaced.component,
            "the instance goes on with the component that is deployed now: its replay agrees with the history"
        );
        let ended = instance.replace_component(replaced, self.ambient.now());
        let number = ended.number;
        let round = self.store(cell, held, ended, messages.to_vec()).await;
        if held.instance.as_ref().is_some_and(|instance| instance.last_turn() == number) {
            self.released.notify_one();
            // What was taken is read again: the turn that was recorded is the host's alone.
            self.start_over(cell, held, messages.to_vec());
        } else {
            cell.lock().try_deployed = true;
        }
        Tried::Round(round)
    }

    async fn agrees(
        &self,
        instance: &Instance,
        replaced: &ComponentReplaced,
        records: &[Arc<TurnRecord>],
    ) -> Result<(), Interrupted> {
        let execution = instance.execution();
        let call = OrchestratorCall {
            component: replaced.component,
            handler: replaced.handler.clone(),
            name: execution.name.clone(),
            instance_id: instance.id().clone(),
            execution_id: execution.execution_id.clone(),
        };
        // Among the turns that run, and known as one should it end the process.
        let (slot, _place) = self.slot_and_place().await;
        let _flight = self.parking.begin(&Call {
            kind: CallKind::Turn,
            execution: execution.execution_id.as_str(),
            number: instance.last_turn().next().0,
            attempt: 1,
            function: &execution.name,
        });
        let mut guest = match self.executor.orchestrator(call, slot).await {
            Ok(guest) => guest,
            Err(GuestError::Code(failure)) => {
                return Err(Interrupted::Stall(format!("no guest can be made: {}: {}", failure.kind, failure.message)));
            }
            Err(GuestError::Unavailable(text)) => return Err(Interrupted::Later(text)),
        };
        // What a rewound execution is handed once more is no replay: it may differ.
        let replay = match instance.rerun() {
            Some(from) => Replay::rerun(records, from).0,
            None => Replay::of(records),
        };
        match replay {
            Some(replay) => self.replay(instance, replaced.component, guest.as_mut(), &replay).await,
            None => Ok(()),
        }
    }
}

/// Tells people how a replay differs. The log's two forms differ, too: one line of JSON holds both sides as arrays, for a
/// terminal there are two columns, a line per action (`telemetry` knows these targets).
pub(super) fn log_divergence(instance: &Instance, component: Digest, divergence: &Divergence) {
    let side = |of: fn(&crate::durable::DiffRow) -> &Option<String>| {
        let texts: Vec<&str> = divergence.rows().iter().map(|row| of(row).as_deref().unwrap_or("")).collect();
        format!("{texts:?}")
    };
    let execution = instance.execution();
    error!(
        target: "soloist::divergence::entry",
        instance_id = %instance.id(), name = %execution.name, %component,
        first_action = divergence.rows().first().map_or(0, |row| row.action),
        first_difference = divergence.rows().iter().find(|row| row.differs).map_or(0, |row| row.action),
        history = side(|row| &row.history), code = side(|row| &row.code),
        "a replay differs from its history"
    );
    error!(
        target: "soloist::divergence::columns",
        instance_id = %instance.id(), name = %execution.name, %component,
        "a replay differs from its history"
    );
    for line in divergence.columns() {
        error!(target: "soloist::divergence::columns", "{line}");
    }
}
