use serde::Deserialize;
use soloist_sdk::prelude::*;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Input {
    /// What is to be approved.
    subject: String,
    /// How long to wait for the answer.
    timeout_seconds: u64,
}

impl Default for Input {
    fn default() -> Self {
        Self { subject: "a purchase".into(), timeout_seconds: 72 * 60 * 60 }
    }
}

/// Human interaction: waits for the event `ApprovalEvent` with payload `true` or `false`, up to a time.
#[orchestrator]
async fn e4_approval(ctx: OrchestrationContext, input: Option<Input>) -> Result<String> {
    let input = input.unwrap_or_default();
    ctx.call_activity::<()>("E4_RequestApproval", &(ctx.instance_id(), &input.subject)).await?;

    // The wait costs nothing and outlives the process. Whichever of event and timer comes second is given up.
    let timeout = Duration::from_secs(input.timeout_seconds);
    match ctx.wait_for_event_with_timeout("ApprovalEvent", timeout).await? {
        Some(true) => Ok("approved".into()),
        Some(false) => Ok("rejected".into()),
        None => ctx.call_activity("E4_Escalate", &input.subject).await,
    }
}

#[cfg(test)]
mod tests {
    use soloist_sdk::testing::{Action, Cancel, Script};

    fn waiting() -> Script {
        let mut script = Script::start("E4_Approval", &());
        script.complete(0, &());
        script
    }

    #[test]
    fn the_answer_decides_and_gives_up_the_timer() {
        let mut script = waiting();
        script.raise("approvalevent", &true);
        assert_eq!(script.output::<String>(), "approved");
        assert!(script.actions().contains(&Action::Cancel(Cancel { sequence: 1 })));
    }

    #[test]
    fn without_an_answer_it_is_escalated() {
        let mut script = waiting();
        script.fire(1).complete(2, &"escalated");
        assert_eq!(script.output::<String>(), "escalated");
    }
}
