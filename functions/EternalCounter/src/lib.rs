use serde::Deserialize;
use soloist_sdk::prelude::*;

/// What may be asked of the counter: the payload of event `operation`.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Incr,
    Decr,
    End,
}

/// A counter as an orchestration without an end: each event `operation` (`"incr"`, `"decr"`) begins it anew with the next
/// value, so that its history never grows. `"end"` ends it. Its custom status is the value.
///
/// Events that come in quick succession are kept and counted one after the other. For a counter alone an entity is simpler
/// (see Counter); this form can wait, call activities and send reminders between two events.
#[orchestrator]
async fn eternal_counter(ctx: OrchestrationContext, value: Option<i64>) -> Result<i64> {
    let value = value.unwrap_or(0);
    ctx.set_custom_status(&value)?;
    match ctx.wait_for_event("operation").await? {
        Operation::Incr => ctx.continue_as_new(&(value + 1)),
        Operation::Decr => ctx.continue_as_new(&(value - 1)),
        Operation::End => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use soloist_sdk::testing::{Outcome, Script};

    #[test]
    fn each_event_begins_it_anew_with_the_next_value() {
        for (operation, next) in [("incr", "6"), ("decr", "4")] {
            let mut script = Script::start("EternalCounter", &5);
            script.raise("operation", operation);
            let Outcome::ContinueAsNew(anew) = script.outcome() else { panic!("{:?}", script.outcome()) };
            assert_eq!(anew.input, next);
        }
    }

    #[test]
    fn it_begins_at_0_and_ends_when_it_is_told_to() {
        let mut script = Script::start("EternalCounter", &());
        script.raise("Operation", "end");
        assert_eq!(script.output::<i64>(), 0);
    }
}
