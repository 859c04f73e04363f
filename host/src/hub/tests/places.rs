//! Places among the turns that run, and slots for guests.

use super::*;

/// As many guests as there are turns at once and residents: those that wait for their turns, or for storage, have slots, too.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_slot_keeps_nobody_from_running_who_has_one() {
    let mut world = World::new();
    for (turns_max, residents) in [(1, 1), (2, 1), (2, 5)] {
        (world.turns_max, world.residents) = (turns_max, residents);
        *world.script.slots.lock().unwrap() = Some(Arc::new(tokio::sync::Semaphore::new(turns_max + residents)));
        world.next_life(None).await;
        let ids: Vec<String> = (0..20).map(|n| format!("{turns_max}-{residents}-{n}")).collect();
        for id in &ids {
            world.start("Runs", id, "Step").await;
        }
        for id in &ids {
            world.until_completed(id).await;
        }
        let most = world.script.slot_waiters_most.swap(0, Ordering::SeqCst);
        assert!(most <= turns_max, "{most} waited for slots at once");
    }
}

/// Executions that go on for ever have all the slots: between turns they rest, or have another turn at once.
#[tokio::test(start_paused = true)]
async fn long_executions_keep_nobody_out() {
    let mut world = World::new();
    for (turns_max, residents, waits) in [(1, 2, 1), (2, 5, 0), (3, 1, 0)] {
        (world.turns_max, world.residents) = (turns_max, residents);
        *world.script.slots.lock().unwrap() = Some(Arc::new(tokio::sync::Semaphore::new(turns_max + residents)));
        world.next_life(None).await;
        for n in 0..turns_max + residents {
            let function = if n < waits { "Collects" } else { "Loops" };
            world.start(function, &format!("{residents}-{n}"), "0-9").await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        for n in 0..10 {
            let id = format!("{residents}-new-{n}");
            world.start("Runs", &id, "Step").await;
            world.until_completed(&id).await;
        }
        for n in 0..turns_max + residents {
            let id = format!("{residents}-{n}");
            let status = world.status(&id).await;
            assert_eq!(status.runtime_status, RuntimeStatus::Running, "{status:?}");
            world.hub().terminate(&id, "").await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_turns_run_at_once() {
    let mut world = World::new();
    for turns_max in [1, 3] {
        world.turns_max = turns_max;
        world.next_life(None).await;
        world.script.turns_most.store(0, Ordering::SeqCst);
        let ids: Vec<String> = (0..20).map(|n| format!("{turns_max}-{n}")).collect();
        for id in &ids {
            world.start("Runs", id, "Step").await;
        }
        for id in &ids {
            world.until_completed(id).await;
        }
        assert_eq!(world.script.turns_most.load(Ordering::SeqCst), turns_max);
    }
}
