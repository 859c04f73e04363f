//! One who looks after all instances of a world: lists them, resumes what stalls, purges.

use std::{collections::BTreeSet, sync::Arc};

use soloist::{
    durable::RuntimeStatus,
    hub::{ClientError, HubLoad, OrchestrationStatus, PurgeFilter, StatusQuery},
    storage::Query,
};

use crate::{
    clients::{Context, may_be_repeated},
    dice::Dice,
    entity_world,
    plan::Phase,
    timers,
};

/// Looks at everything again and again.
pub async fn operate(context: Arc<Context>, seed: u64, sweeps: bool) {
    let mut dice = Dice::new(seed);
    loop {
        context.life.nap_millis(300 + dice.below(1_000)).await;
        let Some(seen) = list(&context, &mut dice).await else { continue };
        context.did("list");
        for instance in &seen {
            if let Some(diagnostics) = &instance.diagnostics {
                look_into(&context, instance, diagnostics).await;
            }
            tend_stranger(&context, instance, &mut dice).await;
        }
        if sweeps && dice.one_in(8) {
            sweep(&context, &mut dice).await;
        }
    }
}

fn is_planned(context: &Context, instance: &OrchestrationStatus) -> bool {
    context.plans.iter().any(|plan| plan.id == instance.instance_id.as_str())
}

/// Every instance, page by page; `None` if a page could not be had.
async fn list(context: &Context, dice: &mut Dice) -> Option<Vec<OrchestrationStatus>> {
    let live = |context: &Context| -> BTreeSet<(String, usize)> {
        let live = context.plans.iter().filter(|plan| {
            let is_live = {
                let truth = plan.truth();
                truth.phase == Phase::Runs && truth.accepted > 0
            };
            is_live && !context.was_buried(plan)
        });
        live.map(|plan| (plan.id.clone(), context.recorder.graves_of(&plan.id))).collect()
    };
    let before = live(context);
    let mut query = StatusQuery { top: Some(1 + dice.below(4) as usize), ..StatusQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = match context.hub.list(query.clone()).await {
            Ok(page) => page,
            Err(error) => {
                assert!(may_be_repeated(&error), "a list was refused: {error}");
                return None;
            }
        };
        seen.extend(page.instances);
        query.continuation = page.continuation;
        if query.continuation.is_none() {
            break;
        }
    }
    for plan in &context.plans {
        context.settled(&plan.id).await;
    }
    let mut listed = BTreeSet::new();
    for id in seen.iter().map(|instance| instance.instance_id.as_str()) {
        // One that is purged and started anew meanwhile is at the end again.
        assert!(listed.insert(id) || context.recorder.graves_of(id) > 0, "{id} is listed twice");
    }
    for (id, _) in before.intersection(&live(context)) {
        assert!(listed.contains(id.as_str()), "{id} is not listed");
    }
    Some(seen)
}

/// Why does it not go on?
async fn look_into(context: &Context, instance: &OrchestrationStatus, diagnostics: &str) {
    let id = instance.instance_id.as_str();
    let is_trouble =
        ["busy", "full", "accepts nothing more", "simulated"].iter().any(|word| diagnostics.contains(word));
    let is_damage = ["Non-Deterministic", "corrupt", "is not one"].iter().any(|word| diagnostics.contains(word));
    assert!(is_trouble || is_damage, "{id} stalls: {diagnostics}");
    if !is_damage {
        return;
    }
    assert!(context.recorder.is_damaged(id), "{id} stalls, and nothing of it was damaged: {diagnostics}");
    if let Some(plan) = context.plans.iter().find(|plan| plan.id == id) {
        let mut truth = plan.truth();
        truth.resumes += 1;
        truth.is_resuming = true;
    }
    let answer = context.hub.resume(id, "operator").await;
    if let Some(plan) = context.plans.iter().find(|plan| plan.id == id) {
        plan.truth().is_resuming = false;
    }
    match answer {
        Ok(()) => context.did("resume of a stalled instance"),
        Err(ClientError::Conflict(_) | ClientError::Gone(_) | ClientError::NotFound(_)) => {}
        Err(error) => assert!(may_be_repeated(&error), "a resume was refused: {error}"),
    }
}

/// Ends copies of instances, and purges children that have ended; now and then one that has not, which must be refused.
async fn tend_stranger(context: &Context, instance: &OrchestrationStatus, dice: &mut Dice) {
    if is_planned(context, instance) {
        return;
    }
    let (id, has_ended) = (instance.instance_id.as_str(), instance.runtime_status.is_terminal());
    if instance.name == "Program" && !has_ended {
        match context.hub.terminate_with_children(id, "a copy").await {
            Ok(()) | Err(ClientError::Gone(_) | ClientError::NotFound(_)) => {}
            Err(error) => assert!(may_be_repeated(&error), "a terminate was refused: {error}"),
        }
    }
    if dice.one_in(if has_ended { 4 } else { 10 }) {
        match context.hub.purge(id).await {
            Ok(()) => context.did("purge of a child"),
            // One that failed may have been rewound meanwhile, and a timer function starts its singleton again.
            Err(ClientError::Conflict(_)) => assert!(
                !has_ended || instance.runtime_status == RuntimeStatus::Failed || id == timers::SINGLETON,
                "{id} has ended and is not purged"
            ),
            Err(ClientError::NotFound(_)) => {}
            Err(error) => assert!(may_be_repeated(&error), "a purge was refused: {error}"),
        }
    }
}

async fn sweep(context: &Context, dice: &mut Dice) -> Option<u64> {
    let statuses = match dice.below(3) {
        0 => vec![],
        1 => vec![RuntimeStatus::Completed, RuntimeStatus::Running],
        _ => vec![RuntimeStatus::Failed, RuntimeStatus::Terminated],
    };
    purge_by(context, PurgeFilter { statuses, ..PurgeFilter::default() }).await
}

async fn purge_by(context: &Context, filter: PurgeFilter) -> Option<u64> {
    match context.hub.purge_by(filter).await {
        Ok(purged) => {
            context.did("purge by filter");
            Some(purged)
        }
        Err(error) => {
            assert!(may_be_repeated(&error), "a purge by filter was refused: {error}");
            None
        }
    }
}

/// Once everything has ended and is purged nothing may be left, neither in storage nor in the hub.
pub async fn settle(context: &Context) {
    let real = &context.real;
    context.timers.settle().await;
    entity_world::settle(context).await;
    while purge_by(context, PurgeFilter::default()).await.is_none() {
        context.life.nap_millis(50).await;
    }
    let query = Query { limit: 10, ..Query::default() };
    let left = real.list(query).await.expect("the real storage answers").instances;
    assert!(left.is_empty(), "a purge by filter left {left:#?}");
    entity_world::check_started(context);
    let due = real.due(None, 10).await.expect("the real storage answers");
    assert!(due.is_empty(), "due entries that belong to nobody: {due:?}");
    let mut load = context.hub.load();
    // In a time that goes fast a busy machine needs more of it.
    for _ in 0..if context.recorder.is_loose { 30_000 } else { 150 } {
        if load == HubLoad::default()
            && context.slots.are_free()
            && !real.collect(0).await.expect("the real storage answers")
        {
            return;
        }
        context.life.nap_millis(100).await;
        load = context.hub.load();
    }
    panic!(
        "seed {}: what nobody needs is kept: {load:?}, all slots free {}, garbage {:?}",
        context.seed,
        context.slots.are_free(),
        real.collect(0).await
    );
}
