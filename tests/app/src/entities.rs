//! Entities, the orchestrators that use them, and a timer that counts in one.

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use soloist_sdk::prelude::*;
use std::time::Duration;

/// A number: `add` (a number, or a JSON string that holds one), `get`, `reset`, `delete`.
#[derive(Serialize, Deserialize)]
pub struct Counter(Number);

impl Default for Counter {
    fn default() -> Self {
        Self(0.into())
    }
}

#[entity]
impl Counter {
    /// Returns the sum.
    fn add(&mut self, amount: Value) -> Result<Number> {
        let amount = match amount {
            Value::Number(amount) => amount,
            Value::String(text) => serde_json::from_str(&text)?,
            other => return Err(Failure::new(format!("{other} is no number")).with_kind("NoNumber").non_retriable()),
        };
        self.0 = sum(&self.0, &amount)?;
        Ok(self.0.clone())
    }

    fn get(&self) -> Number {
        self.0.clone()
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Whole as long as both are.
fn sum(a: &Number, b: &Number) -> Result<Number> {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64())
        && let Some(sum) = a.checked_add(b)
    {
        return Ok(sum.into());
    }
    let float = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
    Number::from_f64(float(a) + float(b)).ok_or(Failure::new("the sum is no number").with_kind("NoNumber"))
}

/// An account that is never overdrawn.
#[derive(Default, Serialize, Deserialize)]
pub struct Account {
    balance: i64,
}

#[entity]
impl Account {
    fn balance(&self) -> i64 {
        self.balance
    }

    fn deposit(&mut self, amount: i64) -> i64 {
        self.balance += amount;
        self.balance
    }

    /// Changes the state before it fails: what is left then is the roll-back's merit.
    fn withdraw(&mut self, amount: i64) -> Result<i64> {
        self.balance -= amount;
        if self.balance < 0 {
            return Err(Failure::new(format!("{amount} are not there")).with_kind("Overdrawn"));
        }
        Ok(self.balance)
    }
}

#[derive(Deserialize)]
pub struct Forward {
    to: EntityId,
    operation: String,
    input: Json,
    /// Delivered so many milliseconds later.
    ms: Option<u64>,
}

#[derive(Deserialize)]
pub struct Starting {
    name: String,
    id: Option<String>,
    input: Json,
}

/// Any state, and operations that do what entities can do: with side effects, and failing in every way.
#[entity]
pub fn probe(ctx: EntityContext) -> Result<Json> {
    let own_state = || Ok::<_, Failure>(ctx.get_state::<Json>()?.unwrap_or_default());
    match ctx.operation_name().as_str() {
        "get" => own_state(),
        "set" => {
            ctx.set_state(&ctx.get_input::<Json>()?)?;
            own_state()
        }
        "delete" => {
            ctx.delete_on_exit();
            Ok(Json::null())
        }
        // Both leave a state and a signal behind, if they are not rolled back.
        operation @ ("fail" | "panic") => {
            ctx.set_state(&operation)?;
            ctx.signal_entity(&EntityId::new("Counter", ctx.key()), "add", &1)?;
            if operation == "panic" {
                panic!("boom entity {}", ctx.key());
            }
            Err(Failure::new(format!("boom entity {}", ctx.key())).with_kind("Boom"))
        }
        "spin" => loop {
            std::hint::black_box(());
        },
        "forward" => {
            let forward: Forward = ctx.get_input()?;
            match forward.ms.map(Duration::from_millis) {
                Some(later) => ctx.signal_entity_at(&forward.to, &forward.operation, &forward.input, later)?,
                None => ctx.signal_entity(&forward.to, &forward.operation, &forward.input)?,
            }
            Ok(Json::null())
        }
        // Returns the new instance's id.
        "start" => {
            let start: Starting = ctx.get_input()?;
            let options = start.id.map_or(StartOptions::new(), |id| StartOptions::new().with_instance_id(id));
            Ok(Json::encode(&ctx.start_orchestration(&start.name, &start.input, options)?)?)
        }
        // What the context knows.
        "tell" => Ok(Json::encode(&serde_json::json!({
            "id": ctx.id(),
            "isNewlyConstructed": ctx.is_newly_constructed(),
            "isSignal": ctx.is_signal(),
            "caller": ctx.caller(),
            "time": ctx.current_time(),
            "guid": ctx.new_guid(),
        }))?),
        other => Err(Failure::new(format!("there is no operation '{other}'")).with_kind("UnknownOperation")),
    }
}

#[derive(Deserialize)]
pub struct Operation {
    entity: EntityId,
    operation: String,
    #[serde(default)]
    input: Json,
    /// Signals are delivered so many milliseconds later.
    ms: Option<u64>,
    /// So many times; calls one after the other.
    #[serde(default = "once")]
    times: u32,
}

fn once() -> u32 {
    1
}

/// What an operation or a request came to, where a failure is an answer as well.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Ended {
    Well(Json),
    Failed { kind: String, message: String },
}

impl From<Result<Json>> for Ended {
    fn from(result: Result<Json>) -> Self {
        match result {
            Ok(result) => Self::Well(result),
            Err(failure) => Self::Failed { kind: failure.kind().into(), message: failure.message().into() },
        }
    }
}

/// Calls an entity `times` times: `{"entity":{"name","key"},"operation","input"}`. Returns the last answer.
#[orchestrator]
pub async fn call_entity(ctx: OrchestrationContext, input: Operation) -> Ended {
    let mut last = Ok(Json::null());
    for _ in 0..input.times {
        last = ctx.call_entity(&input.entity, &input.operation, &input.input).await;
    }
    last.into()
}

/// Signals an entity `times` times.
#[orchestrator]
pub async fn signal_entity(ctx: OrchestrationContext, input: Operation) -> Result<()> {
    for _ in 0..input.times {
        match input.ms.map(Duration::from_millis) {
            Some(later) => ctx.signal_entity_at(&input.entity, &input.operation, &input.input, later)?,
            None => ctx.signal_entity(&input.entity, &input.operation, &input.input)?,
        }
    }
    Ok(())
}

#[derive(Deserialize)]
pub struct TransferInput {
    from: String,
    to: String,
    amount: i64,
}

/// Moves money between two accounts in a critical section; false if it is not there. Nobody sees a sum that is not right.
#[orchestrator]
pub async fn transfer(ctx: OrchestrationContext, input: TransferInput) -> Result<bool> {
    let (from, to) = (ctx.entity("Account", input.from), ctx.entity("Account", input.to));
    let section = ctx.lock([&from, &to]).await?;
    if from.call::<i64>("balance", &()).await? < input.amount {
        return Ok(false);
    }
    from.call::<i64>("withdraw", &input.amount).await?;
    to.call::<i64>("deposit", &input.amount).await?;
    section.unlock();
    Ok(true)
}

/// The sum of these accounts, at one moment.
#[orchestrator]
pub async fn audit(ctx: OrchestrationContext, keys: Vec<String>) -> Result<i64> {
    let accounts: Vec<_> = keys.into_iter().map(|key| ctx.entity("Account", key)).collect();
    let section = ctx.lock(&accounts).await?;
    let balances = try_join_all(accounts.iter().map(|account| account.call::<i64>("balance", &()))).await?;
    drop(section);
    Ok(balances.iter().sum())
}

/// Locks the counters of these keys and sets its custom status to `"locked"`; at event `Release` adds 1 to each, one after
/// the other, and ends. Returns their values.
#[orchestrator]
pub async fn hold_locks(ctx: OrchestrationContext, keys: Vec<String>) -> Result<Vec<i64>> {
    let counters: Vec<_> = keys.into_iter().map(|key| ctx.entity("Counter", key)).collect();
    let _section = ctx.lock(&counters).await?;
    ctx.set_custom_status("locked")?;
    ctx.wait_for_event::<Json>("Release").await?;
    let mut values = Vec::new();
    for counter in &counters {
        values.push(counter.call("add", &1).await?);
    }
    Ok(values)
}

/// Locks the counters of these keys, unless there are none, and sets its custom status to how many it holds; at event `Release`
/// it continues as new without keys, and without having unlocked.
#[orchestrator]
pub async fn leaves_locked(ctx: OrchestrationContext, keys: Vec<String>) -> Result<()> {
    if !keys.is_empty() {
        std::mem::forget(ctx.lock(keys.iter().map(|key| EntityId::new("Counter", key))).await?);
    }
    ctx.set_custom_status(&keys.len())?;
    ctx.wait_for_event::<Json>("Release").await?;
    if keys.is_empty() { Ok(()) } else { ctx.continue_as_new(&Vec::<String>::new()) }
}

/// Asks for the locks of these counters for so long; returns whether it got them.
#[orchestrator]
pub async fn try_locks(ctx: OrchestrationContext, (keys, ms): (Vec<String>, u64)) -> Result<bool> {
    use futures::future::{Either, select};
    let counters = keys.iter().map(|key| EntityId::new("Counter", key));
    match select(ctx.lock(counters), ctx.create_timer(Duration::from_millis(ms))).await {
        Either::Left((section, _)) => section.map(|_section| true),
        Either::Right(((), _)) => Ok(false),
    }
}

/// Breaks each rule of critical sections; returns what it was told.
#[orchestrator]
pub async fn breaks_rules(ctx: OrchestrationContext) -> Result<Vec<String>> {
    let (locked, other) = (ctx.entity("Counter", "locked"), ctx.entity("Counter", "other"));
    let _section = ctx.lock([&locked]).await?;
    let first = locked.call::<i64>("get", &());
    let told = [
        ctx.lock([&other]).await.err(),
        ctx.call_sub_orchestration::<Json>("Noop", &()).await.err(),
        other.call::<i64>("get", &()).await.err(),
        locked.call::<i64>("get", &()).await.err(),
        locked.signal("add", &1).err(),
    ];
    first.await?;
    Ok(told.into_iter().flatten().map(|failure| failure.message().to_owned()).collect())
}

/// Counts its firings in the counter `ticks`, and those that were late in `late-ticks`.
#[timer_trigger]
pub fn ticks(timer: TimerInfo, client: DurableClient) -> Result<()> {
    log::info(format!("tick of {}", timer.scheduled()));
    client.signal_entity(&EntityId::new("Counter", "ticks"), "add", &1)?;
    if timer.is_past_due() {
        client.signal_entity(&EntityId::new("Counter", "late-ticks"), "add", &1)?;
    }
    Ok(())
}

/// `POST entity/{operation}/{name}/{key?}`: `signal` (with `?op=`, and `?at=` in milliseconds since 1970) or `read`, by the
/// durable client.
#[http_trigger]
pub fn http_entity(req: HttpRequest, client: DurableClient) -> HttpResult {
    let entity = EntityId::new(req.required_param("name")?, req.param("key").unwrap_or_default());
    match req.required_param("operation")? {
        "signal" => {
            let (operation, input) = (req.query("op").unwrap_or_default(), req.payload()?);
            match req.query("at").map(str::parse).transpose().map_err(|_| BadRequest::new("?at= is no number"))? {
                Some(at) => client.signal_entity_at(&entity, operation, &input, Timestamp::from_millis(at))?,
                None => client.signal_entity(&entity, operation, &input)?,
            }
            Ok(HttpResponse::new(202))
        }
        "read" => Ok(match client.read_entity::<Json>(&entity)? {
            Some(read) => HttpResponse::ok().json(&read.state)?,
            None => HttpResponse::new(404),
        }),
        _ => Err(BadRequest::new("no such operation").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use soloist_sdk::testing::{ClientCall, EntityAction, EntityScript, Script, TestHub};
    use std::collections::BTreeMap;

    fn json(text: &str) -> Json {
        Json::from_text(text).unwrap()
    }

    #[test]
    fn the_counter_is_a_bare_number_that_is_absent_at_first() {
        let mut counter = EntityScript::new("Counter", "a");
        assert_eq!(counter.state_text(), None);
        assert_eq!(counter.call::<i64>("get", &()).unwrap(), 0);
        counter.signal("add", &5).unwrap();
        assert_eq!(counter.state_text(), Some("5"));
        counter.signal("Add", "-7").unwrap();
        assert_eq!(counter.state_text(), Some("-2"));
        counter.signal("add", &0.5).unwrap();
        assert_eq!(counter.state_text(), Some("-1.5"));
        for bad in ["null", "\"x\"", "[1]", "\"\\\"1\\\"\"", "{}"] {
            counter.signal("add", &json(bad)).unwrap_err();
            assert_eq!(counter.state_text(), Some("-1.5"), "{bad}");
        }
        counter.signal("reset", &()).unwrap();
        assert_eq!(counter.state_text(), Some("0"));
        counter.signal("delete", &()).unwrap();
        assert_eq!(counter.state_text(), None);
    }

    #[test]
    fn sums_stay_exact_where_they_can() {
        let mut counter = EntityScript::new("Counter", "a").with_state(&(i64::MAX - 1));
        counter.signal("add", &1).unwrap();
        assert_eq!(counter.state::<i64>(), Some(i64::MAX));
        counter.signal("add", &1).unwrap();
        assert_eq!(counter.state::<f64>(), Some(i64::MAX as f64));
        counter.signal("add", &1e308).unwrap();
        assert_eq!(counter.signal("add", &1.7e308).unwrap_err().kind(), "NoNumber");
    }

    #[test]
    fn a_probe_that_fails_leaves_nothing_behind() {
        let mut probe = EntityScript::new("Probe", "p");
        probe.signal("set", &json("{\"a\": 1.0}")).unwrap();
        assert_eq!(probe.signal("fail", &()).unwrap_err().kind(), "Boom");
        assert_eq!(probe.signal("panic", &()).unwrap_err().message(), "boom entity p");
        assert_eq!(probe.state_text(), Some("{\"a\": 1.0}"));
        assert!(probe.take_actions().is_empty());
        probe
            .signal("forward", &json(r#"{"to":{"name":"Counter","key":"c"},"operation":"add","input":1,"ms":5}"#))
            .unwrap();
        assert_eq!(probe.call::<String>("start", &json(r#"{"name":"Noop","id":"n","input":1}"#)).unwrap(), "n");
        let actions = probe.take_actions();
        assert!(
            matches!(&actions[..], [EntityAction::SignalEntity(_), EntityAction::StartOrchestration(_)]),
            "{actions:?}"
        );
    }

    /// Plays the accounts of a transfer.
    fn transferred(balance: i64, amount: i64) -> (bool, i64, i64) {
        let mut accounts = BTreeMap::from([
            (
                "@account@a".to_owned(),
                EntityScript::new("Account", "a").with_state(&BTreeMap::from([("balance", balance)])),
            ),
            ("@account@b".to_owned(), EntityScript::new("Account", "b")),
        ]);
        let input = json(&format!(r#"{{"from":"a","to":"b","amount":{amount}}}"#));
        let script = Script::run("Transfer", &input, |call, input| {
            let (account, operation) = call.rsplit_once('.').unwrap();
            accounts.get_mut(account).unwrap().call(operation, &input)
        });
        let mut balance = |key: &str| accounts.get_mut(key).unwrap().call("balance", &()).unwrap();
        (script.output(), balance("@account@a"), balance("@account@b"))
    }

    #[test]
    fn a_transfer_moves_what_is_there_and_never_overdraws() {
        assert_eq!(transferred(10, 7), (true, 3, 7));
        assert_eq!(transferred(10, 10), (true, 0, 10));
        assert_eq!(transferred(10, 11), (false, 10, 0));
        let mut account = EntityScript::new("Account", "a");
        assert_eq!(account.signal("withdraw", &1).unwrap_err().kind(), "Overdrawn");
        assert_eq!(account.state_text(), None);
    }

    #[test]
    fn locks_are_held_up_to_the_event_and_given_up_in_time() {
        let mut script = Script::start("HoldLocks", &["a", "b"]);
        script.grant(0).raise("Release", &1).complete(1, &5).complete(2, &6);
        assert_eq!(script.output::<Vec<i64>>(), [5, 6]);
        let mut script = Script::start("TryLocks", &(["a"], 1000));
        assert!(!script.fire(1).output::<bool>());
        let mut script = Script::start("TryLocks", &(["a"], 1000));
        assert!(script.grant(0).output::<bool>());
    }

    #[test]
    fn calls_end_well_or_with_a_failure() {
        let input = json(r#"{"entity":{"name":"Counter","key":"c"},"operation":"get","times":2}"#);
        let script = Script::run("CallEntity", &input, |call, _| {
            assert_eq!(call, "@counter@c.get");
            Err(Failure::new("no").with_kind("Broken"))
        });
        assert_eq!(script.output::<Json>().text(), r#"{"kind":"Broken","message":"no"}"#);
        let script = Script::run("BreaksRules", &(), |_, _| Ok(json("1")));
        assert_eq!(script.output::<Vec<String>>().len(), 5);
        let script = Script::run("Audit", &["a", "b", "c"], |_, _| Ok(json("2")));
        assert_eq!(script.output::<i64>(), 6);
    }

    #[test]
    fn a_tick_is_counted_and_a_late_one_twice() {
        let hub = TestHub::new();
        let timer = TimerInfo::for_test(Timestamp::from_millis(0.0));
        ticks(timer.clone(), hub.client()).unwrap();
        ticks(timer.past_due(), hub.client()).unwrap();
        let counters = hub.take_calls().into_iter().map(|call| match call {
            ClientCall::SignalEntity { entity, .. } => entity.key().to_owned(),
            other => panic!("{other:?}"),
        });
        assert_eq!(counters.collect::<Vec<_>>(), ["ticks", "ticks", "late-ticks"]);
    }
}
