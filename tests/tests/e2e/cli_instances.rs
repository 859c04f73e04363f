//! `soloist instances`: every verb, lists longer than a page, ids and payloads that would harm a terminal.

use std::fs;

use serde_json::{Value, json};
use soloist_tests::{HostBuilder, eventually, instances::MANAGEMENT};

use crate::cli::{on, on_terminal, soloist, with_and_without_keys};

with_and_without_keys!(
    an_instance_is_started_looked_at_and_waited_for,
    inputs_are_text_files_or_standard_input_byte_for_byte,
    an_instance_is_controlled,
    lists_go_on_over_pages_up_to_what_was_asked_for,
    a_purge_by_filter_counts_and_asks_first,
    on_a_terminal_a_purge_asks_and_statuses_have_colours,
    any_legal_id_is_reached_and_none_harms_the_terminal,
    a_custom_status_moves_no_cursor,
    a_timeline_tells_of_timers_children_and_entities,
    a_wait_outlasts_a_restart_of_the_host,
);

/// Legal in an id, and special in a URL, a shell or a terminal.
const HOSTILE_IDS: [&str; 8] =
    ["100%", "%2F%00", "a b+c&d=e;f", "🎉 漢字", "..", ".", "\u{202e}abc\u{200b}", "it's \"quoted\" <b>"];

async fn an_instance_is_started_looked_at_and_waited_for(host: HostBuilder) {
    let host = host.start().await;
    let started = on(&host, &["instances", "start", "E1_HelloSequence", "--id", "hello"]).with(0);
    assert_eq!(started.out, "started hello\n");
    let waited = on(&host, &["instances", "wait", "hello", "--timeout", "300s"]).with(0);
    assert_eq!(waited.out, "hello Completed: [\"Hello Tokyo!\",\"Hello Seattle!\",\"Hello London!\"]\n");
    let shown = on(&host, &["instances", "show", "hello"]).with(0);
    assert_eq!(shown.line("status"), "status Completed");
    assert_eq!(shown.line("function"), "function E1_HelloSequence");
    assert!(shown.line("output").contains("Hello Seattle!"), "{shown:?}");
    assert!(shown.line("last updated").contains("(took "), "{shown:?}");
    assert_eq!(shown.out.matches("activity").count(), 3, "{shown:?}");
    assert!(shown.line("ended").ends_with("ended Completed"), "{shown:?}");
    assert!(!shown.out.contains('\u{1b}'), "no colours in a pipe");
    let history = on(&host, &["instances", "history", "hello"]).with(0);
    assert_eq!(history.out.matches("TaskCompleted").count(), 3, "{history:?}");

    let json = on(&host, &["instances", "show", "hello", "--format", "json"]).with(0).json();
    assert_eq!(json["runtimeStatus"], "Completed");
    let events = on(&host, &["instances", "--format", "json", "history", "hello"]).with(0).json();
    assert_eq!(events, json["historyEvents"]);
    let waited = on(&host, &["instances", "start", "Noop", "--wait", "--format", "json"]).with(0);
    assert_eq!(waited.json()["runtimeStatus"], "Completed");
    let started = on(&host, &["instances", "start", "Noop", "--id", "-n", "--format", "json"]);
    assert_eq!(started.code, 2, "{started:?}");
    let started = on(&host, &["instances", "start", "Noop", "--id=-n", "--format", "json"]).with(0).json();
    assert_eq!(started["id"], "-n");
    assert!(started["statusQueryGetUri"].as_str().unwrap().starts_with("http://"));
    on(&host, &["instances", "wait", "--", "-n"]).with(0);
}

async fn inputs_are_text_files_or_standard_input_byte_for_byte(host: HostBuilder) {
    let host = host.start().await;
    let input = |number: &str| format!("{{\"token\": {number}}}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input.json");
    fs::write(&file, input("[1.0,  2]")).unwrap();
    let at_file = format!("@{}", file.display());
    let variables = host.variables();
    let start = |id: &str, argument: &str, stdin: Option<&str>| {
        let arguments = ["instances", "start", "Echo", "--id", id, "--input", argument, "--wait"];
        soloist(&arguments, stdin, &variables).with(0)
    };
    let big = "12345678901234567890.10";
    assert!(start("text", &input(big), None).out.contains(big));
    assert!(start("file", &at_file, None).out.contains("[1.0,  2]"));
    assert!(start("stdin", "-", Some(&input("\"-\""))).out.contains("\"-\""));
    assert_eq!(on(&host, &["instances", "show", "text"]).with(0).out.matches(big).count(), 2);
    let shown = on(&host, &["instances", "show", "text", "--format", "json"]).with(0);
    assert!(shown.out.contains(&format!("\"output\":{{\"token\":{big}}}")), "{shown:?}");
    let long = format!("{{\"token\":\"{}\"}}", "x".repeat(5_000));
    start("long", &long, None);
    assert!(on(&host, &["instances", "show", "long"]).with(0).out.contains("… (5012 bytes)"));
    assert!(on(&host, &["instances", "show", "long", "--full"]).with(0).out.contains(&long));
}

async fn an_instance_is_controlled(host: HostBuilder) {
    let host = host.start().await;
    on(&host, &["instances", "start", "WaitForApproval", "--id", "a"]).with(0);
    let suspended = on(&host, &["instances", "suspend", "a", "--reason", "hold on"]).with(0);
    assert_eq!(suspended.out, "suspended a\n");
    assert_eq!(on(&host, &["instances", "show", "a"]).line("status"), "status Suspended");
    let resumed = on(&host, &["instances", "resume", "a", "--format", "json"]).with(0);
    assert_eq!(resumed.json(), json!({ "instanceId": "a", "operation": "resume" }));
    let raised = on(&host, &["instances", "raise", "a", "Approval", "--data", "{\"ok\": 1.0}"]).with(0);
    assert_eq!(raised.out, "raised Approval at a\n");
    assert_eq!(on(&host, &["instances", "wait", "a"]).with(0).out, "a Completed: {\"ok\": 1.0}\n");
    let shown = on(&host, &["instances", "show", "a"]).with(0);
    assert!(shown.line("hold on").contains("suspended"), "{shown:?}");
    assert!(shown.line("received").contains("Approval"), "{shown:?}");

    let again = on(&host, &["instances", "restart", "a", "--format", "json"]).with(0).json();
    let id = again["id"].as_str().unwrap();
    assert_ne!(id, "a");
    on(&host, &["instances", "terminate", id, "--reason", "ü & %"]).with(0);
    assert_eq!(on(&host, &["instances", "wait", id]).with(1).out, format!("{id} Terminated: \"ü & %\"\n"));
    assert_eq!(on(&host, &["instances", "restart", "a", "--same-id"]).with(0).out, "restarted a\n");
    on(&host, &["instances", "terminate", "a"]).with(0);
    assert_eq!(on(&host, &["instances", "purge", "a"]).with(0).out, "deleted a\n");
    on(&host, &["instances", "show", "a"]).with(3);

    on(&host, &["instances", "start", "AlwaysFails", "--id", "f", "--wait"]).with(1);
    let shown = on(&host, &["instances", "show", "f"]).with(0);
    assert!(shown.line("output").contains("this orchestration always fails"), "{shown:?}");
    assert_eq!(on(&host, &["instances", "rewind", "f", "--reason", "again"]).with(0).out, "rewound f\n");
    on(&host, &["instances", "wait", "f"]).with(1);
}

async fn lists_go_on_over_pages_up_to_what_was_asked_for(host: HostBuilder) {
    let host = host.start().await;
    for number in 0..230 {
        host.start("Noop", &format!("n-{number:03}"), "").await;
    }
    host.start("WaitForApproval", "w-0", "").await;
    for number in 0..230 {
        host.output(&format!("n-{number:03}")).await;
    }
    let ids = |arguments: &[&str]| -> Vec<String> {
        let said = on(&host, &[&["instances", "list", "--format", "json"], arguments].concat()).with(0);
        let list: Vec<Value> = serde_json::from_str(&said.out).unwrap();
        list.iter().map(|status| status["instanceId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&[]).len(), 100);
    assert_eq!(ids(&["--all"]).len(), 231);
    assert_eq!(ids(&["--top", "150"]).len(), 150);
    assert_eq!(ids(&["--top", "5", "--prefix", "n-1"]), ["n-100", "n-101", "n-102", "n-103", "n-104"]);
    assert_eq!(ids(&["--prefix", "none"]), [""; 0]);
    assert_eq!(ids(&["--prefix", "w", "--status", "running,pending", "--created-after", "1h"]), ["w-0"]);
    assert_eq!(ids(&["--created-before", "1h"]), [""; 0]);

    let text = on(&host, &["instances", "list", "--top", "3"]).with(0);
    assert_eq!(text.out.lines().count(), 4, "{text:?}");
    assert!(text.line("n-000").starts_with("n-000 Noop Completed 2"), "{text:?}");
    assert!(text.err.contains("--all"), "{text:?}");
    let none = on(&host, &["instances", "list", "--prefix", "none"]).with(0);
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "no instances\n"));
}

async fn a_purge_by_filter_counts_and_asks_first(host: HostBuilder) {
    let host = host.start().await;
    for id in ["a", "b", "c"] {
        host.start("Noop", id, "").await;
        host.output(id).await;
    }
    host.start("AlwaysFails", "f", "").await;
    on(&host, &["instances", "wait", "f"]).with(1);
    host.start("WaitForApproval", "live", "").await;
    let refused = on(&host, &["instances", "purge", "--status", "completed"]).with(2);
    assert!(refused.err.contains("Delete 3 ended instances") && refused.err.contains("--yes"), "{refused:?}");
    assert_eq!(host.list("").await.len(), 5, "nothing was deleted");
    let nothing = on(&host, &["instances", "purge", "--created-before", "1h", "--format", "json"]).with(0);
    assert_eq!(nothing.json(), json!({ "instancesDeleted": 0 }));
    let purged = on(&host, &["instances", "purge", "--status", "completed", "--yes", "--format", "json"]).with(0);
    assert_eq!(purged.json(), json!({ "instancesDeleted": 3 }));
    assert_eq!(on(&host, &["instances", "purge", "--all", "--yes"]).with(0).out, "deleted 1 instances\n");
    assert_eq!(host.list("").await.len(), 1);
    let live = on(&host, &["instances", "purge", "--status", "running", "--yes"]).with(2);
    assert!(live.err.contains("terminate them first"), "{live:?}");
    on(&host, &["instances", "purge", "live"]).with(4);
    on(&host, &["instances", "purge", "live", "--all"]).with(2);
    on(&host, &["instances", "purge"]).with(2);
}

async fn on_a_terminal_a_purge_asks_and_statuses_have_colours(host: HostBuilder) {
    let host = host.start().await;
    host.start("Noop", "a", "").await;
    host.output("a").await;
    let purge = ["instances", "purge", "--all"];
    for typed in ["n\n", "\n", "maybe\n"] {
        let (code, shown) = on_terminal(&host, &purge, typed, &[]);
        assert!(code == 1 && shown.contains("Delete 1 ended instances"), "{code} {shown}");
        assert!(shown.contains("nothing was done"), "{shown}");
    }
    let list = ["instances", "list"];
    assert!(on_terminal(&host, &list, "", &[]).1.contains("\u{1b}[32mCompleted\u{1b}[0m"));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (code, shown) = on_terminal(&host, &list, "", &[(name, value)]);
        assert!(code == 0 && shown.contains("Completed") && !shown.contains('\u{1b}'), "{shown}");
    }
    assert!(!on_terminal(&host, &["instances", "list", "--format", "json"], "", &[]).1.contains('\u{1b}'));
    let (code, shown) = on_terminal(&host, &purge, "yes\n", &[]);
    assert!(code == 0 && shown.contains("deleted 1 instances"), "{code} {shown}");
    assert!(host.list("").await.is_empty());
}

async fn any_legal_id_is_reached_and_none_harms_the_terminal(host: HostBuilder) {
    let host = host.start().await;
    for id in HOSTILE_IDS {
        on(&host, &["instances", "start", "WaitForApproval", "--id", id]).with(0);
        let shown = on(&host, &["instances", "show", id, "--format", "json"]).with(0).json();
        assert_eq!(shown["instanceId"], id);
        on(&host, &["instances", "raise", id, "Approval", "--data", "\"a\u{7f}\u{9b}\u{202e}b\""]).with(0);
        let waited = on(&host, &["instances", "wait", id]).with(0);
        assert!(waited.out.ends_with("Completed: \"a\\u007f\\u009b\\u202eb\"\n"), "{waited:?}");
        assert_no_control(&on(&host, &["instances", "show", id]).with(0).out);
        assert_no_control(&on(&host, &["instances", "history", id]).with(0).out);
    }
    for arguments in [&["--format", "json"][..], &[]] {
        let list = on(&host, &[&["instances", "list"], arguments].concat()).with(0);
        assert_no_control(&list.out);
        assert!(list.out.contains("🎉 漢字") && list.out.contains("\\u202eabc\\u200b"), "{list:?}");
    }
    let missing = on(&host, &["instances", "show", "\u{202e}\u{9b}2J"]).with(3);
    assert_no_control(&missing.err);
    for id in HOSTILE_IDS {
        on(&host, &["instances", "purge", id]).with(0);
    }
    assert!(host.list("").await.is_empty());
    for id in ["@a", "a/b", "a#b", "a\u{1b}b"] {
        let refused = on(&host, &["instances", "start", "Noop", "--id", id]).with(2);
        assert!(refused.err.contains("must not"), "{refused:?}");
        on(&host, &["instances", "show", id]).with(3);
    }
}

async fn a_custom_status_moves_no_cursor(host: HostBuilder) {
    let host = host.start().await;
    let input = "{\"text\":\"\\u001b[2J\\u009b31m\\n🎉\",\"times\":1}";
    on(&host, &["instances", "start", "SetsStatus", "--id", "s", "--input", input, "--wait"]).with(0);
    for verb in ["show", "list"] {
        let arguments = ["instances", verb, "s"];
        let said = on(&host, if verb == "list" { &arguments[..2] } else { &arguments }).with(0);
        assert_no_control(&said.out);
        assert!(said.out.contains("\\u001b[2J") && said.out.contains("🎉"), "{said:?}");
    }
    let json = on(&host, &["instances", "show", "s", "--format", "json"]).with(0);
    assert_no_control(&json.out);
    assert_eq!(json.json()["customStatus"], "\u{1b}[2J\u{9b}31m\n🎉");
}

async fn a_timeline_tells_of_timers_children_and_entities(host: HostBuilder) {
    let host = host.start().await;
    on(&host, &["instances", "start", "Timer", "--id", "t", "--input", "{\"token\":1,\"ms\":1500}", "--wait"]).with(0);
    let timer = on(&host, &["instances", "show", "t"]).line("fired");
    // After when it was created it is shown for how long it waited.
    let waited: f64 = timer.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(waited >= 1.5 && timer.contains("timer due"), "{timer}");
    let input = "{\"child\":\"Echo\",\"inputs\":[{\"token\":1}],\"id\":\"child-1\"}";
    on(&host, &["instances", "start", "Parent", "--id", "p", "--input", input, "--wait"]).with(0);
    let shown = on(&host, &["instances", "show", "p"]);
    assert!(shown.line("child-1 ").ends_with("child Echo child-1 completed"), "{shown:?}");
    let input = "{\"token\":1,\"fails\":2,\"max\":3,\"firstMs\":20,\"coefficient\":1.0}";
    on(&host, &["instances", "start", "Flaky", "--id", "r", "--input", input, "--wait"]).with(0);
    let shown = on(&host, &["instances", "show", "r"]);
    assert_eq!(shown.out.matches("retry").count(), 2, "{shown:?}");
    let input = json!({ "entity": { "name": "Counter", "key": "k" }, "operation": "add", "input": 2, "times": 2 });
    on(&host, &["instances", "start", "CallEntity", "--id", "e", "--input", &input.to_string(), "--wait"]).with(0);
    let shown = on(&host, &["instances", "show", "e"]);
    assert_eq!(shown.out.matches("entity call").count(), 2, "{shown:?}");
    assert_eq!(shown.out.matches("answered").count(), 2, "{shown:?}");
    on(&host, &["instances", "start", "Timer", "--id", "open", "--input", "{\"token\":1,\"ms\":900000}"]).with(0);
    eventually("the timer waits", || async {
        on(&host, &["instances", "show", "open"]).out.contains("waiting").then_some(())
    })
    .await;
}

async fn a_wait_outlasts_a_restart_of_the_host(host: HostBuilder) {
    let builder = host.port(soloist_tests::host::free_port());
    let mut host = builder.argument("--log-level").argument("debug").start().await;
    host.start("WaitForApproval", "a", "").await;
    let variables = host.variables();
    let waiting = tokio::task::spawn_blocking(move || {
        soloist(&["instances", "wait", "a", "--timeout", "300s"], None, &variables)
    });
    eventually("it has asked once", || async {
        let log = host.log();
        let asks = |line: &str| line.contains("request answered") && line.contains("/instances/a");
        if log.lines().any(asks) { Ok(()) } else { Err(log) }
    })
    .await;
    host.kill9();
    host.restart().await;
    host.raise("a", "Approval", "7").await;
    assert_eq!(waiting.await.unwrap().with(0).out, "a Completed: 7\n");
    assert_eq!(host.get(&format!("{MANAGEMENT}/instances/a")).await.status, 200);
}

fn assert_no_control(text: &str) {
    let is_bad = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{200b}' | '\u{202e}'));
    assert!(!text.contains(is_bad), "{text:?}");
}
