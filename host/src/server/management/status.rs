//! The status object.

use super::super::json_text::JsonObject;
use super::super::time::whole_seconds;
use super::history::history_events;
use super::raw_history::raw_history;
use crate::durable::RuntimeStatus;
use crate::hub::{HistoryDetail, OrchestrationStatus};

/// An instance as Durable Functions shows it: eight members, always, in this order; `historyEvents` and, the same once more,
/// `history`, if it was asked for and the instance is not Pending; `diagnostics`, which is ours, while the instance stalls.
pub(super) fn status_json(status: &OrchestrationStatus, detail: HistoryDetail) -> String {
    let records = status.history.as_ref().filter(|_| status.runtime_status != RuntimeStatus::Pending);
    with_history(status, detail, records.map(|records| history_events(records, detail)))
}

/// The same with every event that is recorded, as it is.
pub(super) fn raw_status_json(status: &OrchestrationStatus, detail: HistoryDetail) -> String {
    with_history(status, detail, status.history.as_ref().map(|records| raw_history(records)))
}

fn with_history(status: &OrchestrationStatus, detail: HistoryDetail, history: Option<String>) -> String {
    let object = JsonObject::new()
        .string("name", &status.name)
        .string("instanceId", status.instance_id.as_str())
        .string("runtimeStatus", status.runtime_status.as_str())
        .json("input", status.input.as_ref().filter(|_| detail.input))
        .json("customStatus", status.custom_status.as_ref())
        .json("output", status.output_json().as_ref())
        .string("createdTime", &whole_seconds(status.created))
        .string("lastUpdatedTime", &whole_seconds(status.updated));
    let object = match history {
        // Twice: the host of the original says `historyEvents`, the third JavaScript client reads `history`.
        Some(history) => object.raw("historyEvents", &history).raw("history", &history),
        None => object,
    };
    match &status.diagnostics {
        Some(text) => object.string("diagnostics", text).finish(),
        None => object.finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{Failure, Json};
    use crate::server::management::tests::{STATUS_JSON, status};
    use crate::storage::Output;

    const INPUT: HistoryDetail = HistoryDetail { input: true, output: false };

    #[test]
    fn eight_members_are_always_there_and_payloads_are_verbatim() {
        assert_eq!(status_json(&status(RuntimeStatus::Running), INPUT), STATUS_JSON);
        let mut bare = status(RuntimeStatus::Pending);
        (bare.input, bare.custom_status, bare.history) = (None, None, Some(vec![]));
        assert_eq!(
            status_json(&bare, INPUT),
            r#"{"name":"E1","instanceId":"a","runtimeStatus":"Pending","input":null,"customStatus":null,"output":null,"createdTime":"2026-01-01T00:00:00Z","lastUpdatedTime":"2026-01-01T00:00:03Z"}"#
        );
        let hidden = HistoryDetail { input: false, output: false };
        assert!(status_json(&status(RuntimeStatus::Running), hidden).contains(r#""input":null"#));
    }

    #[test]
    fn output_is_the_output_the_failure_or_the_reason() {
        let output = |runtime_status, output| {
            let mut status = status(runtime_status);
            status.output = Some(output);
            status_json(&status, INPUT)
        };
        let completed = output(RuntimeStatus::Completed, Output::Completed(Json::parse("[ 1.0 ]").unwrap()));
        assert!(completed.contains(r#""output":[ 1.0 ],"#));
        let failed = output(RuntimeStatus::Failed, Output::Failed(Failure::new("Panic", "boom")));
        assert!(failed.contains(r#""output":"Orchestrator function 'E1' failed: boom","#));
        let terminated = output(RuntimeStatus::Terminated, Output::Terminated("enough".into()));
        assert!(terminated.contains(r#""output":"enough","#));
    }

    #[test]
    fn history_and_diagnostics_come_last() {
        let mut status = status(RuntimeStatus::Running);
        (status.history, status.diagnostics) = (Some(vec![]), Some("line 1\nline 2".into()));
        let text = status_json(&status, INPUT);
        assert!(text.ends_with(r#","historyEvents":[],"history":[],"diagnostics":"line 1\nline 2"}"#), "{text}");
    }
}
