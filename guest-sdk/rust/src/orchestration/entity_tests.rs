//! Entities, critical sections, durable HTTP and sent events: actions, answers, cancellation, and the rules of sections.

use super::section::Section;
use crate::prelude::*;
use crate::testing::{
    Action, CallEntity, CallHttp, Cancel, Completed, Event, Failed, HttpCompleted, LockEntities, Outcome, Script,
    SendEvent, SignalEntity, TurnStarted, UnlockEntities,
};
use futures::future::{Either, join, join_all, select};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Critical sections that come and go, against timers, in both orders; their calls in parallel.
#[orchestrator]
async fn t_sections(ctx: OrchestrationContext) -> Result<Vec<String>> {
    let (a, b) = (ctx.entity("Account", "a"), ctx.entity("Account", "b"));
    let mut seen = Vec::new();
    for round in 0..6 {
        let (lock, timer) = (ctx.lock([&a, &b]), ctx.create_timer(SECOND));
        let section = if round % 2 == 0 {
            match select(lock, timer).await {
                Either::Left((section, _)) => section,
                Either::Right(((), _)) => Err(Failure::new("late")),
            }
        } else {
            match select(timer, lock).await {
                Either::Left(((), _)) => Err(Failure::new("late")),
                Either::Right((section, _)) => section,
            }
        };
        let called = join(a.call::<u32>("add", &round), b.call::<u32>("add", &round)).await;
        seen.push(format!("{} {called:?}", section.is_ok()));
        match section {
            Ok(section) if round % 3 == 0 => section.unlock(),
            Ok(_dropped) => {}
            Err(failure) => seen.push(failure.message().to_owned()),
        }
        b.signal("note", &round)?;
    }
    Ok(seen)
}

/// Requests and calls against timers.
#[orchestrator]
async fn t_requests(ctx: OrchestrationContext) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    for round in 0..6 {
        let call = ctx.call_http(DurableHttpRequest::get("https://a.example/"));
        seen.push(match select(call, ctx.create_timer(SECOND)).await {
            Either::Left((response, _)) => format!("{:?}", response.map(|response| response.status())),
            Either::Right(((), _)) => "late".into(),
        });
        let count = ctx.entity("Counter", "c").call::<u32>("add", &round);
        seen.push(match select(ctx.create_timer(SECOND), count).await {
            Either::Left(((), _)) => ctx.new_guid(),
            Either::Right((count, _)) => format!("{count:?}"),
        });
        ctx.send_event("other", "Seen", &seen.len())?;
    }
    Ok(seen)
}

fn id(key: &str) -> EntityId {
    EntityId::new("account", key)
}

#[test]
fn each_call_is_an_action_with_all_that_was_said() {
    #[orchestrator]
    async fn t_says(ctx: OrchestrationContext) -> Result<(u32, u16, String, Vec<u8>)> {
        let account = ctx.entity("ACCOUNT", "a");
        account.signal("open", &())?;
        account.signal_at("remind", "x", ctx.current_time() + SECOND)?;
        ctx.send_event("other", "Go", &7)?;
        let request = DurableHttpRequest::post("https://a.example/")
            .header("x-a", "b")
            .json(&[1])
            .without_polling()
            .timeout(SECOND)
            .retry_on([429])
            .retry(RetryPolicy::new(2, SECOND))
            .token_source(TokenSource::managed_identity("r").with_options(Json::encode(&["o"])?));
        let response = ctx.call_http(request).await?;
        let header = response.header("X-Many").unwrap_or_default().to_owned();
        Ok((account.call("get", &Json::null()).await?, response.status(), header, response.json()?))
    }
    let mut script = Script::start("t_says", &());
    let signal = |sequence, operation: &str, input: &str, scheduled| {
        let (operation, input) = (operation.into(), input.into());
        Action::SignalEntity(SignalEntity { sequence, entity: id("a").to_wit(), operation, input, scheduled })
    };
    let actions = script.take_actions();
    assert_eq!(actions[0], signal(0, "open", "null", None));
    assert_eq!(actions[1], signal(1, "remind", "\"x\"", Some(crate::testing::BEGIN + 1000.0)));
    let sent = SendEvent { sequence: 2, instance_id: "other".into(), name: "Go".into(), input: "7".into() };
    assert_eq!(actions[2], Action::SendEvent(sent));
    let [Action::CallHttp(call)] = &actions[3..] else { panic!("{actions:?}") };
    let CallHttp { sequence: 3, asynchronous_pattern: false, timeout: Some(1000.0), .. } = call else {
        panic!("{call:?}")
    };
    assert_eq!((call.method.as_str(), call.uri.as_str()), ("POST", "https://a.example/"));
    let headers: Vec<_> = call.headers.iter().map(|header| (header.name.as_str(), header.value.as_str())).collect();
    assert_eq!(headers, [("x-a", "b"), ("content-type", "application/json")]);
    assert_eq!(call.content.as_deref(), Some("[1]"));
    let retry = call.retry.as_ref().unwrap();
    assert_eq!((retry.policy.max_attempts, &retry.status_codes[..]), (2, &[429][..]));
    let token = call.token_source.as_ref().unwrap();
    assert_eq!((token.kind.as_str(), token.resource_uri.as_str()), ("AzureManagedIdentity", "r"));
    assert_eq!(token.options.as_deref(), Some(r#"["o"]"#));

    let header =
        |value: &str| crate::bindings::soloist::functions::types::Header { name: "x-many".into(), value: value.into() };
    let headers = vec![header("1"), header("2")];
    script.feed(vec![Event::HttpCompleted(HttpCompleted {
        sequence: 3,
        status_code: 202,
        headers,
        content: "[5]".into(),
    })]);
    assert_eq!(script.take_entity_calls(), [(4, "@account@a.get".into(), "null".into())]);
    script.complete(4, &9);
    assert_eq!(script.output::<(u32, u16, String, Vec<u8>)>(), (9, 202, "1, 2".into(), vec![5]));
}

#[test]
fn failures_of_calls_reach_the_code_with_their_kinds() {
    #[orchestrator]
    async fn t_fail_calls(ctx: OrchestrationContext) -> Result<Vec<String>> {
        let kind = |failure: Option<Failure>| failure.map_or_else(String::new, |failure| failure.kind().to_owned());
        let counter = ctx.entity("Counter", "c");
        let mut kinds = vec![
            kind(counter.call::<u32>("add", &1).await.err()),
            kind(counter.call::<u32>("add", &1).await.err()),
            kind(ctx.call_http(DurableHttpRequest::get("x")).await.err()),
            kind(ctx.lock([counter.id()]).await.err()),
        ];
        // The failed request has left no section behind.
        kinds.push(kind(counter.call::<u32>("add", &1).await.err()));
        let odd = std::collections::BTreeMap::from([([1], 1)]); // such a map is no JSON
        kinds.push(kind(counter.call::<u32>("add", &odd).await.err()));
        kinds.push(kind(counter.signal("add", &odd).err()));
        kinds.push(kind(ctx.call_http(DurableHttpRequest::get("x").json(&odd)).await.err()));
        Ok(kinds)
    }
    let mut script = Script::start("t_fail_calls", &());
    let failure = || Failure::new("no").with_kind("Broken");
    script.fail(0, failure()).complete(1, "no number").fail(2, failure()).fail(3, failure()).fail(4, failure());
    let kinds = [
        "Broken",
        "InvalidPayload",
        "Broken",
        "Broken",
        "Broken",
        "InvalidPayload",
        "InvalidPayload",
        "InvalidPayload",
    ];
    assert_eq!(script.output::<Vec<String>>(), kinds);
}

#[test]
fn a_section_is_left_by_unlock_by_drop_and_by_the_end() {
    #[orchestrator]
    async fn t_leaves(ctx: OrchestrationContext) -> Result<bool> {
        let (a, b) = (ctx.entity("Account", "a"), ctx.entity("Account", "b"));
        let section = ctx.lock([&b, &a, &b]).await?;
        let ordered = section.entities() == [id("a"), id("b")];
        let inside = ctx.is_locked();
        section.unlock();
        let outside = !ctx.is_locked();
        {
            let _section = ctx.lock([&a]).await?;
        }
        let _section = ctx.lock([&b]).await?;
        Ok(ordered && inside && outside)
    }
    let mut script = Script::start("t_leaves", &());
    let lock = |sequence, keys: &[&str]| {
        let entities = keys.iter().map(|key| id(key).to_wit()).collect();
        Action::LockEntities(LockEntities { sequence, entities })
    };
    let unlock = |sequence, lock| Action::UnlockEntities(UnlockEntities { sequence, lock });
    assert_eq!(script.take_actions(), [lock(0, &["a", "b"])], "in order, without repetitions");
    script.grant(0);
    assert_eq!(script.take_actions(), [unlock(1, 0), lock(2, &["a"])]);
    script.grant(2);
    assert_eq!(script.take_actions(), [unlock(3, 2), lock(4, &["b"])]);
    script.grant(4);
    assert_eq!(script.take_actions(), [unlock(5, 4)], "the guard goes with the code");
    assert!(script.output::<bool>());
}

#[test]
fn a_request_for_locks_that_is_given_up_is_cancelled_or_if_granted_undone() {
    #[orchestrator]
    async fn t_gives_up(ctx: OrchestrationContext) -> Result<()> {
        let lock = ctx.lock([id("a")]);
        match select(ctx.wait_for_event::<u8>("Go"), lock).await {
            // Dropped here: nobody has looked at it since.
            Either::Left((_, lock)) => drop(lock),
            Either::Right((section, _)) => drop(section),
        }
        ctx.lock([id("b")]).await?.unlock();
        Ok(())
    }
    let b = Action::LockEntities(LockEntities { sequence: 1, entities: vec![id("b").to_wit()] });
    let mut script = Script::start("t_gives_up", &());
    script.take_actions();
    script.raise("Go", &1);
    assert_eq!(script.take_actions()[1..], [Action::Cancel(Cancel { sequence: 0 }), b]);
    script.grant(0); // under way when it was given up: the host's to take back
    assert_eq!((script.take_actions(), script.outcome()), (vec![], &Outcome::Waiting));
    script.grant(1);
    assert_eq!(script.outcome(), &Outcome::Completed("null".into()));
}

#[test]
fn locks_that_were_granted_unseen_are_released() {
    #[orchestrator]
    async fn t_unseen(ctx: OrchestrationContext) -> Result<()> {
        let lock = ctx.lock([id("a")]);
        ctx.wait_for_event::<u8>("Go").await?;
        drop(lock);
        ctx.call_sub_orchestration("Child", &()).await
    }
    let mut script = Script::start("t_unseen", &());
    script.take_actions();
    script.grant(0).raise("Go", &1);
    let actions = script.take_actions();
    assert_eq!(actions[1], Action::UnlockEntities(UnlockEntities { sequence: 1, lock: 0 }));
    assert!(matches!(&actions[2], Action::CreateSubOrchestration(child) if child.sequence == 2), "{actions:?}");
}

#[test]
fn the_rules_of_critical_sections_are_enforced() {
    #[orchestrator]
    async fn t_rules(ctx: OrchestrationContext) -> Result<Vec<String>> {
        let (a, b, c) = (ctx.entity("Account", "a"), ctx.entity("ACCOUNT", "b"), ctx.entity("Account", "c"));
        let mut told = Vec::new();
        let mut note = |failure: Option<Failure>| {
            let failure = failure.expect("this is against the rules");
            assert!(failure.is_non_retriable());
            told.push(format!("{}: {failure}", failure.kind()));
        };
        note(ctx.lock(Vec::<EntityId>::new()).await.err());
        let lock = ctx.lock([&a, &b]);
        note(a.call::<u32>("get", &()).await.err());
        note(ctx.lock([&c]).await.err());
        let section = lock.await?;
        note(ctx.lock([&c]).await.err());
        note(ctx.call_sub_orchestration::<u32>("Child", &()).await.err());
        note(c.call::<u32>("get", &()).await.err());
        note(a.signal("add", &1).err());
        let first = a.call::<u32>("get", &());
        note(a.call::<u32>("get", &()).await.err());
        // All this is allowed.
        c.signal("add", &1)?;
        ctx.call_activity::<u32>("Work", &()).await?;
        let (first, second) = join(first, b.call::<u32>("get", &())).await;
        let again: u32 = a.call("get", &()).await?;
        section.unlock();
        a.signal("add", &(first? + second? + again))?;
        let twice = join_all([a.call::<u32>("get", &()), a.call("get", &())]).await;
        drop(twice);
        ctx.call_sub_orchestration::<u32>("Child", &()).await?;
        Ok(told)
    }
    let mut signals = 0;
    let script = Script::run("t_rules", &(), |_, _| Ok(Json::encode(&1)?));
    signals += script.actions().iter().filter(|action| matches!(action, Action::SignalEntity(_))).count();
    assert_eq!(signals, 2, "what is forbidden makes no action");
    let told = [
        "InvalidArgument: the list of entities to lock must not be empty",
        "LockingRulesViolation: Must await the completion of the lock request prior to calling any entity.",
        "LockingRulesViolation: Cannot acquire more locks when already holding some locks.",
        "LockingRulesViolation: Cannot acquire more locks when already holding some locks.",
        "LockingRulesViolation: Cannot invoke sub-orchestrations from within a critical section.",
        "LockingRulesViolation: Cannot call an entity from within a critical section unless it is one of the locked entities.",
        "LockingRulesViolation: Cannot signal an entity from within a critical section if the entity is one of the locked entities.",
        "LockingRulesViolation: Cannot call the same entity multiple times in parallel within a critical section.",
    ];
    assert_eq!(script.output::<Vec<String>>(), told);
}

#[test]
fn every_prefix_of_a_history_asks_for_the_same_actions() {
    #[orchestrator]
    async fn t_moves(ctx: OrchestrationContext) -> Result<u32> {
        let (a, b) = (ctx.entity("Account", "a"), ctx.entity("Account", "b"));
        let mut moved = 0;
        for _ in 0..3 {
            let section = ctx.lock([&a, &b]).await?;
            let (from, to) = join(a.call::<u32>("get", &()), b.call::<u32>("get", &())).await;
            moved += from? + to?;
            drop(section);
            a.signal("note", &moved)?;
            let status = ctx.call_http(DurableHttpRequest::get("https://a.example/")).await?.status();
            ctx.send_event("other", "Status", &status)?;
        }
        Ok(moved)
    }
    let played = Script::run("t_moves", &(), |name, _| {
        if name.starts_with("GET ") {
            return Ok(Json::encode(&DurableHttpResponse::for_test(204, ""))?);
        }
        Ok(Json::encode(&1)?)
    });
    assert_eq!(played.output::<u32>(), 6);
    for length in 0..=played.events().len() {
        let mut prefix = Script::prepare("t_moves");
        prefix.call(played.events()[..length].to_vec());
        assert_eq!(prefix.actions(), &played.actions()[..prefix.actions().len()], "after {length} events");
        prefix.call(played.events()[length..].to_vec());
        assert_eq!(prefix.actions(), played.actions(), "split after {length} events");
        assert_eq!(prefix.outcome(), played.outcome());
    }
}

#[test]
fn an_answer_of_another_kind_is_a_history_of_other_code() {
    #[orchestrator]
    async fn t_one_call(ctx: OrchestrationContext) -> Result<u32> {
        ctx.entity("Counter", "c").call("get", &()).await
    }
    let done = || Completed { sequence: 0, output: "1".into() };
    let failed = Failed { sequence: 0, failure: Failure::new("no").into_wit() };
    for event in [Event::TaskCompleted(done()), Event::LockGranted(done()), Event::HttpFailed(failed)] {
        let mut script = Script::start("t_one_call", &());
        script.call(vec![Event::TurnStarted(TurnStarted { timestamp: 0.0 }), event]);
        assert!(matches!(script.outcome(), Outcome::Faulted(_)), "{:?}", script.outcome());
    }
    let mut script = Script::start("t_one_call", &());
    let actions = script.take_actions();
    let [Action::CallEntity(CallEntity { sequence: 0, .. })] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(script.complete(0, &1).output::<u32>(), 1);
}

#[test]
fn a_section_knows_only_its_own_locks() {
    let mut section = Section::default();
    section.request(4, [id("a")].into());
    section.enter();
    assert!(!section.leave(3), "the locks of another action");
    assert!(section.is_inside());
    assert!(section.leave(4));
    assert!(!section.leave(4), "they are released once");
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
struct TPurse(i64);

#[entity(name = "Purse", proxy = PurseProxy)]
impl TPurse {
    fn put(&mut self, coins: Vec<i64>, ctx: EntityContext) -> Result<i64> {
        ctx.log(Level::Debug, "put");
        self.0 += coins.iter().sum::<i64>();
        Ok(self.0)
    }

    fn count(&self) -> i64 {
        self.0
    }
}

#[test]
fn a_proxy_calls_with_the_types_of_the_methods() {
    #[orchestrator]
    async fn t_purse(ctx: OrchestrationContext) -> Result<(i64, i64)> {
        let purse = PurseProxy::new(&ctx, "p");
        purse.signal_put(&vec![1])?;
        let section = ctx.lock([purse.entity()]).await?;
        let counts = (purse.put(&vec![2, 3]).await?, purse.count().await?);
        drop(section);
        Ok(counts)
    }
    let mut purse = crate::testing::EntityScript::new("Purse", "p");
    let script = Script::run("t_purse", &(), |call, input| purse.call(call.rsplit_once('.').unwrap().1, &input));
    assert_eq!(script.output::<(i64, i64)>(), (5, 5));
    let Action::SignalEntity(signal) = &script.actions()[0] else { panic!("{:?}", script.actions()) };
    assert_eq!((signal.operation.as_str(), signal.input.as_str()), ("put", "[1]"));
}
