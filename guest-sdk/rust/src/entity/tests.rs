//! Entities as their authors write them: what state, results and actions come out.

use crate::prelude::*;
use crate::testing::{EntityAction, EntityScript, EntitySignal, EntityStart};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Default, Serialize, Deserialize)]
struct TCounter(i64);

#[entity]
impl TCounter {
    fn add(&mut self, amount: i64) -> Result<i64, std::num::TryFromIntError> {
        self.0 += amount;
        u32::try_from(self.0)?; // too late for the field: the roll-back has to take it back
        Ok(self.0)
    }

    fn get(&self) -> i64 {
        self.0
    }

    fn reset(&mut self) {
        self.0 = 0;
    }

    fn pass_on(&mut self, ctx: EntityContext, amount: i64) -> Result<()> {
        self.0 += 1;
        ctx.signal_entity(&EntityId::new("Other", "k"), "add", &amount)?;
        ctx.start_orchestration("Audit", &amount, StartOptions::new().with_instance_id("audit"))?;
        if amount < 0 { Err(Failure::new("negative").with_kind("Negative")) } else { Ok(()) }
    }

    fn boom(&mut self, ctx: EntityContext) {
        self.0 = 1000;
        ctx.delete_on_exit();
        panic!("boom {}", ctx.key());
    }

    fn last(&mut self, ctx: EntityContext) -> bool {
        ctx.delete_on_exit();
        ctx.is_newly_constructed()
    }

    fn set_state_by_hand(&self, ctx: EntityContext) -> Result<()> {
        ctx.set_state(&5)
    }

    fn tell(&self, ctx: EntityContext, _input: Option<String>) -> Result<(String, String, bool, bool, Option<String>)> {
        Ok((ctx.id().to_string(), ctx.operation_name(), ctx.is_newly_constructed(), ctx.is_signal(), ctx.caller()))
    }
}

impl TCounter {
    /// No operation: it stands in another block.
    #[allow(dead_code)]
    fn hidden(&self) {}
}

fn json(text: &str) -> Json {
    Json::from_text(text).unwrap()
}

fn counter() -> EntityScript {
    EntityScript::new("T-Counter", "k")
}

#[test]
fn operations_are_methods_and_the_state_is_the_struct() {
    let mut counter = counter();
    assert_eq!(counter.state_text(), None);
    assert_eq!(counter.call::<i64>("add", &3).unwrap(), 3);
    assert_eq!(counter.call::<i64>("ADD", &4).unwrap(), 7);
    assert_eq!(counter.state_text(), Some("7"));
    assert_eq!(counter.call::<i64>("Get", &()).unwrap(), 7);
    counter.signal("reset", &()).unwrap();
    assert_eq!(counter.state_text(), Some("0"));
}

#[test]
fn what_only_reads_makes_no_entity() {
    let mut counter = counter();
    assert_eq!(counter.call::<i64>("get", &()).unwrap(), 0);
    assert_eq!(counter.state_text(), None);
    // Nor does it write the state in a form of its own.
    let mut counter = counter.with_state(&json(" 7"));
    counter.signal("get", &()).unwrap();
    assert_eq!(counter.state_text(), Some("7"));
}

#[test]
fn a_failed_operation_leaves_no_trace_and_the_others_go_on() {
    let mut counter = counter();
    let results = counter.batch([
        ("add", json("1")),
        ("add", json("-9")),
        ("add", json("\"x\"")),
        ("boom", json("null")),
        ("passOn", json("-1")),
        ("pass_on", json("5")),
        ("nothing", json("null")),
        ("get", json("null")),
    ]);
    let ended = |n: usize| match &results[n] {
        Ok(output) => output.text().to_owned(),
        Err(failure) => failure.kind().to_owned(),
    };
    let ended: Vec<String> = (0..results.len()).map(ended).collect();
    let expected = ["1", "TryFromIntError", "InvalidPayload", "Panic", "Negative", "null", "UnknownOperation", "2"];
    assert_eq!(ended, expected);
    assert_eq!(results[3].as_ref().unwrap_err().message(), "boom k");
    assert_eq!(counter.state_text(), Some("2"));
    let signal = EntitySignal {
        entity: EntityId::new("other", "k").to_wit(),
        operation: "add".into(),
        input: "5".into(),
        scheduled: None,
    };
    let start = EntityStart {
        name: "Audit".into(),
        instance_id: Some("audit".into()),
        input: "5".into(),
        version: None,
        scheduled_start: None,
    };
    assert_eq!(counter.take_actions(), [EntityAction::SignalEntity(signal), EntityAction::StartOrchestration(start)]);
}

#[test]
fn a_first_operation_that_fails_makes_no_entity() {
    let mut counter = counter();
    counter.signal("add", &-1).unwrap_err();
    assert_eq!(counter.state_text(), None);
    let tells: (String, String, bool, bool, Option<String>) = counter.call("tell", &()).unwrap();
    assert_eq!(tells, ("@t-counter@k".into(), "tell".into(), true, false, Some("test-instance".into())));
}

#[test]
fn delete_deletes_and_the_next_operation_begins_anew() {
    let mut counter = counter().with_state(&7);
    let results = counter.batch([("Delete", json("null")), ("get", json("null"))]);
    assert_eq!(results[1].as_ref().unwrap().text(), "0");
    assert_eq!(counter.state_text(), None);
    assert!(counter.call::<bool>("last", &()).unwrap());
    assert_eq!(counter.state_text(), None);
    let results = counter.batch([("add", json("1")), ("last", json("null")), ("add", json("2"))]);
    assert_eq!(results[1].as_ref().unwrap().text(), "false");
    assert_eq!(counter.state_text(), Some("2"));
}

#[test]
fn mistakes_are_named() {
    let mut counter = counter();
    let message = |failure: Failure| failure.message().to_owned();
    assert_eq!(
        message(counter.signal("take", &()).unwrap_err()),
        "entity 't-counter' has no operation 'take'; it has: 'add', 'boom', 'delete', 'get', 'last', 'pass_on', 'reset', \
         'set_state_by_hand', 'tell'"
    );
    assert!(
        message(counter.signal("add", &"3").unwrap_err())
            .starts_with("the input of operation 'add' of entity '@t-counter@k' cannot be read: invalid type: string")
    );
    assert_eq!(
        message(counter.signal("setStateByHand", &()).unwrap_err()),
        "the state of entity '@t-counter@k' is a struct: change `self`"
    );
    let mut counter = counter.with_state("seven");
    assert!(
        message(counter.signal("get", &()).unwrap_err())
            .starts_with("the state of entity '@t-counter@k' cannot be read: invalid type: string")
    );
    counter.signal("delete", &()).unwrap();
    assert_eq!(counter.state_text(), None, "an entity whose state cannot be read can still be deleted");
}

/// The state has a beginning that depends on the context.
#[derive(Serialize, Deserialize)]
struct TTicket {
    opened: String,
    notes: Vec<String>,
}

#[entity(name = "Ticket")]
impl TTicket {
    fn init(ctx: EntityContext) -> Result<Self> {
        if ctx.key().is_empty() {
            return Err(Failure::new("a ticket has a key"));
        }
        Ok(Self { opened: ctx.current_time().to_string(), notes: Vec::new() })
    }

    fn note(&mut self, text: String, ctx: EntityContext) -> Result<usize> {
        self.notes.push(text);
        ctx.signal_entity_at(&ctx.id(), "remind", &(), Duration::from_secs(60))?;
        Ok(self.notes.len())
    }

    /// This entity refuses to be deleted.
    fn delete(&self) -> Result<()> {
        Err(Failure::new("tickets stay"))
    }
}

#[test]
fn an_entity_begins_with_what_init_returns() {
    let mut ticket = EntityScript::new("ticket", "7");
    ticket.batch([("note", json("\"a\"")), ("note", json("\"b\""))]);
    ticket.pass(Duration::from_secs(1));
    assert_eq!(ticket.call::<usize>("note", "c").unwrap(), 3);
    assert_eq!(ticket.state_text(), Some(r#"{"opened":"2026-01-01T00:00:00.000Z","notes":["a","b","c"]}"#));
    let times = ticket.take_actions().into_iter().map(|action| match action {
        EntityAction::SignalEntity(signal) => signal.scheduled.unwrap() - crate::testing::BEGIN,
        EntityAction::StartOrchestration(start) => panic!("{start:?}"),
    });
    assert_eq!(times.collect::<Vec<_>>(), [60_000.0, 60_000.0, 61_000.0]);
    assert_eq!(ticket.signal("delete", &()).unwrap_err().message(), "tickets stay");
    assert_eq!(EntityScript::new("ticket", "").signal("note", "a").unwrap_err().message(), "a ticket has a key");
}

#[entity]
fn t_by_hand(ctx: EntityContext) -> Result<Json> {
    let names: Vec<String> = ctx.get_state_or(Vec::new())?;
    match ctx.operation_name().as_str() {
        "all" => return Ok(Json::encode(&names)?),
        "first" => ctx.set_result(&names.first())?,
        "forget" => ctx.delete_on_exit(),
        "nothing" => ctx.set_state(&())?,
        "half" => {
            ctx.set_state(&vec!["lost"])?;
            ctx.get_input::<u8>()?;
        }
        name => ctx.set_state(&[names, vec![name.to_owned(), ctx.get_input()?]].concat())?,
    }
    Ok(Json::null())
}

#[test]
fn a_function_does_every_operation_by_hand() {
    let mut entity = EntityScript::new("TByHand", "");
    entity.signal("a", "1").unwrap();
    assert_eq!(entity.call::<Option<String>>("first", &()).unwrap().as_deref(), Some("a"));
    assert_eq!(entity.call::<Vec<String>>("all", &()).unwrap(), ["a", "1"]);
    entity.signal("half", "no number").unwrap_err();
    assert_eq!(entity.state_text(), Some(r#"["a","1"]"#));
    entity.signal("nothing", &()).unwrap();
    assert_eq!(entity.state_text(), None, "as in the original, null is no state");
    entity.signal("b", "2").unwrap();
    entity.signal("forget", &()).unwrap();
    assert_eq!(entity.state_text(), None);
}

#[test]
fn guids_and_ids_are_those_of_the_batch() {
    #[entity]
    fn t_guids(ctx: EntityContext) -> Result<(String, String)> {
        Ok((ctx.new_guid(), ctx.start_orchestration("Child", &(), StartOptions::new())?))
    }
    let run = || EntityScript::new("TGuids", "k").batch([("a", Json::null()), ("b", Json::null())]);
    let (once, again) = (run(), run());
    assert_eq!(once, again, "a repetition of a batch makes the same ones");
    assert_ne!(once[0], once[1]);
    let (_, id): (String, String) = once[0].as_ref().unwrap().decode().unwrap();
    assert!(id.len() == 32 && !id.contains('-'), "{id}");
}

#[test]
fn a_start_takes_no_options_that_it_cannot_hand_on() {
    #[entity]
    fn t_starts(ctx: EntityContext) -> Result<String> {
        ctx.start_orchestration("Child", &(), StartOptions::new().with_tag("a", "b"))
    }
    let failure = EntityScript::new("TStarts", "k").signal("x", &()).unwrap_err();
    assert_eq!(failure.message(), "the start of 'Child' by an entity takes neither overridable states nor tags");
}

#[test]
fn a_timer_trigger_is_told_where_its_schedule_stands() {
    use crate::registry::{Kind, Run, find};
    #[timer_trigger]
    fn t_nightly(timer: TimerInfo) -> Result<()> {
        if timer.is_past_due() { Err(Failure::new(format!("due at {}", timer.scheduled()))) } else { Ok(()) }
    }
    let Run::Timer(run) = find(Kind::Timer, "TNightly").ok().unwrap().run else { panic!("no timer trigger") };
    let timer = TimerInfo::for_test(Timestamp::from_millis(crate::testing::BEGIN));
    assert!(run(timer.clone()).is_ok());
    assert_eq!(run(timer.past_due()).unwrap_err().message(), "due at 2026-01-01T00:00:00.000Z");
}

#[test]
fn a_function_may_have_the_name_of_its_parameter() {
    use crate::registry::{Kind, find};
    #[timer_trigger]
    fn timer(timer: TimerInfo) {
        let _ = timer;
    }
    #[activity]
    fn input(input: String) -> String {
        input
    }
    #[http_trigger]
    fn req(req: HttpRequest) -> HttpResponse {
        let _ = req;
        HttpResponse::ok()
    }
    #[orchestrator]
    async fn ctx(ctx: OrchestrationContext) -> String {
        ctx.instance_id().to_owned()
    }
    for (kind, name) in
        [(Kind::Timer, "timer"), (Kind::Activity, "input"), (Kind::Http, "req"), (Kind::Orchestrator, "ctx")]
    {
        assert!(find(kind, name).is_ok(), "{name}");
    }
}
