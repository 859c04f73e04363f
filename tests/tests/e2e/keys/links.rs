//! Links: each does what it is for, to the start that it was made for, and nothing else.

use soloist_tests::{eventually, instances::MANAGEMENT};

use super::*;

const NAMES: [&str; 7] = [
    "statusQueryGetUri",
    "sendEventPostUri",
    "terminatePostUri",
    "purgeHistoryDeleteUri",
    "restartPostUri",
    "suspendPostUri",
    "resumePostUri",
];

/// A host, by whose starter and management API links are made.
async fn stage() -> (AppCopy, Host) {
    let app = app(&["Noop", "WaitForApproval", "Collect", "AlwaysFails"]);
    let host = host(&app).await;
    (app, host)
}

fn code(link: &str) -> String {
    link.split("code=").nth(1).expect("a link has a code").split('&').next().unwrap().to_owned()
}

async fn ask(host: &Host, method: &str, target: &str) -> u16 {
    let json: &[(&str, &str)] = if method == "POST" { &[("content-type", "application/json")] } else { &[] };
    host.send(method, target, json, "").await.status
}

#[tokio::test]
async fn links_work_as_they_are_whoever_made_them() {
    let (_app, host) = stage().await;
    let by_function = start(&host, "WaitForApproval", "a", "").await;
    let by_api = format!("{MANAGEMENT}/orchestrators/WaitForApproval/b");
    let by_api = with_key(&host, "POST", &by_api, &host.key(SYSTEM), "").await;
    let read = "/api/client/urls/a";
    let later = with_key(&host, "POST", read, &host.key(DEFAULT), "").await;
    assert_eq!(later.json(), by_function.json()["statusQueryGetUri"]);
    for links in [by_function, by_api] {
        assert_eq!(links.header("location"), links.json()["statusQueryGetUri"]);
        let keys = [MASTER, DEFAULT, SYSTEM, STARTER].map(|title| host.key(title));
        assert!(keys.iter().all(|key| !links.text().contains(key)), "{links:?}");
        assert_eq!(ask(&host, "GET", &link(&links, "statusQueryGetUri")).await, 202);
        let with_history = format!("{}&showHistory=true", link(&links, "statusQueryGetUri"));
        let status = host.get(&with_history).await;
        assert_eq!(status.status, 202);
        assert_eq!(target(status.header("location")), with_history, "its links go on working");
        assert_eq!(ask(&host, "POST", &link(&links, "suspendPostUri")).await, 202);
        assert_eq!(ask(&host, "POST", &link(&links, "resumePostUri")).await, 202);
        assert_eq!(ask(&host, "POST", &link(&links, "sendEventPostUri")).await, 202);
        assert_eq!(ask(&host, "POST", &link(&links, "terminatePostUri")).await, 202);
        let again = host.post(&link(&links, "restartPostUri"), "").await;
        assert_eq!(again.status, 202);
        assert_eq!(ask(&host, "GET", &link(&again, "statusQueryGetUri")).await, 202);
        assert_eq!(ask(&host, "DELETE", &link(&links, "purgeHistoryDeleteUri")).await, 200);
    }
    let unknown = with_key(&host, "POST", "/api/client/urls/none", &host.key(DEFAULT), "").await;
    assert!(!unknown.text().contains("code="), "{unknown:?}");
}

#[tokio::test]
async fn a_code_opens_one_thing() {
    let (_app, host) = stage().await;
    let links = start(&host, "WaitForApproval", "a", "").await;
    let others = start(&host, "WaitForApproval", "b", "").await;
    for name in NAMES {
        let own = link(&links, name);
        let method = if name.contains("Get") {
            "GET"
        } else if name.contains("Delete") {
            "DELETE"
        } else {
            "POST"
        };
        for other in NAMES.into_iter().filter(|other| *other != name) {
            let wrong = own.replace(&code(&own), &code(&link(&links, other)));
            assert_eq!(ask(&host, method, &wrong).await, 401, "{name} by {other}");
        }
        let wrong = own.replace(&code(&own), &code(&link(&others, name)));
        assert_eq!(ask(&host, method, &wrong).await, 401, "{name} by another instance's");
        for (from, to) in [
            ("code=s1-", "code=s2-"),
            ("code=s1-", "code="),
            ("instances/a", "instances/A"),
            ("code=s1-", "code=s1-00"),
        ] {
            assert_eq!(ask(&host, method, &own.replace(from, to)).await, 401, "{name} {to}");
        }
        let last = own.chars().last().unwrap();
        let tampered = format!("{}{}", &own[..own.len() - 1], if last == '0' { '1' } else { '0' });
        assert_eq!(ask(&host, method, &tampered).await, 401, "{name} tampered");
        assert_eq!(ask(&host, method, &own[..own.len() - 2]).await, 401, "{name} cut");
    }
    let status = code(&link(&links, "statusQueryGetUri"));
    for target in ["instances", "entities", "instances/none", "instances/b"] {
        assert_eq!(ask(&host, "GET", &format!("{MANAGEMENT}/{target}?code={status}")).await, 401, "{target}");
    }
    let start = format!("{MANAGEMENT}/orchestrators/Noop?code={}", code(&link(&links, "restartPostUri")));
    assert_eq!(ask(&host, "POST", &start).await, 401);
    assert_eq!(ask(&host, "GET", &format!("/api/function/x?code={status}")).await, 401);
    assert_eq!(ask(&host, "GET", &format!("/admin/functions?code={status}")).await, 401);
    // Nothing of this has changed anything.
    assert_eq!(ask(&host, "GET", &link(&links, "statusQueryGetUri")).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_lasts_over_continue_as_new_rewind_and_kill_9() {
    let (_app, mut host) = stage().await;
    let links = start(&host, "Collect", "can", r#"{"token":1,"can":1}"#).await;
    let failed = start(&host, "AlwaysFails", "failed", "").await;
    wait_for(&host, "failed", "Failed").await;
    let rewind = format!("{MANAGEMENT}/instances/failed/rewind");
    assert_eq!(with_key(&host, "POST", &rewind, &host.key(SYSTEM), "").await.status, 202);
    wait_for(&host, "failed", "Failed").await;
    let event = link(&links, "sendEventPostUri");
    for payload in ["1", "2"] {
        assert_eq!(host.post(&event, payload).await.status, 202);
    }
    eventually("it has continued as new", || async {
        let status = host.get(&link(&links, "statusQueryGetUri")).await.json();
        (status["input"]["events"] == serde_json::json!([1, 2])).then_some(())
    })
    .await;
    host.kill9();
    host.restart().await;
    assert!(!host.printed().contains("keys ("), "shown once: {}", host.printed());
    assert_eq!(ask(&host, "GET", &link(&failed, "statusQueryGetUri")).await, 200);
    assert_eq!(ask(&host, "GET", &link(&links, "statusQueryGetUri")).await, 202);
    assert_eq!(host.post(&event, "\"END\"").await.status, 202);
    wait_for(&host, "can", "Completed").await;
    assert_eq!(ask(&host, "DELETE", &link(&links, "purgeHistoryDeleteUri")).await, 200);
    assert_eq!(with_key(&host, "GET", "/api/function/x", &host.key(DEFAULT), "").await.status, 200);
}

#[tokio::test]
async fn a_link_ends_with_its_start() {
    let (_app, host) = stage().await;
    let system = host.key(SYSTEM);
    // By a purge: there is nothing any more; then by a new start of the id.
    let first = start(&host, "Noop", "a", "").await;
    wait_for(&host, "a", "Completed").await;
    assert_eq!(ask(&host, "DELETE", &link(&first, "purgeHistoryDeleteUri")).await, 200);
    for (method, name) in
        [("GET", "statusQueryGetUri"), ("DELETE", "purgeHistoryDeleteUri"), ("POST", "restartPostUri")]
    {
        let reply = host.send(method, &link(&first, name), &[], "").await;
        assert_eq!((reply.status, reply.text()), (404, ""), "{name}");
    }
    let second = start(&host, "WaitForApproval", "a", "").await;
    assert_eq!(ask(&host, "GET", &link(&first, "statusQueryGetUri")).await, 401);
    assert_eq!(ask(&host, "POST", &link(&first, "terminatePostUri")).await, 401);
    assert_eq!(ask(&host, "GET", &link(&second, "statusQueryGetUri")).await, 202);
    // By a start in its place.
    assert_eq!(ask(&host, "POST", &link(&second, "terminatePostUri")).await, 202);
    let third = start(&host, "Noop", "a", "").await;
    wait_for(&host, "a", "Completed").await;
    assert_eq!(ask(&host, "GET", &link(&second, "statusQueryGetUri")).await, 401);
    // By a restart under the same id.
    let restart = format!("{MANAGEMENT}/instances/a/restart?restartWithNewInstanceId=false");
    let fourth = with_key(&host, "POST", &restart, &system, "").await;
    assert_eq!(fourth.status, 202, "{fourth:?}");
    assert_eq!(ask(&host, "GET", &link(&third, "statusQueryGetUri")).await, 401);
    wait_for(&host, "a", "Completed").await;
    assert_eq!(ask(&host, "GET", &link(&fourth, "statusQueryGetUri")).await, 200);
}
