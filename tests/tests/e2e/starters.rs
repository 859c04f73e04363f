//! The starters: what they answer, and what they start.

use serde_json::{Value, json};
use soloist_tests::{Host, instances};

const UNKNOWN: &str = "The function 'Nowhere' doesn't exist, is disabled, or is not an orchestrator function.";

#[tokio::test]
async fn a_start_with_an_id_is_answered_with_its_links() {
    let host = Host::start_default().await;
    let reply = host.start("WaitForApproval", "order-17", "").await;
    let origin = format!("http://{}{}", host.address(), instances::path("order-17"));
    assert_eq!(reply.header("location"), format!("{origin}?taskHub=TestHubName&connection=Storage"));
    assert_eq!(reply.header("retry-after"), "10");
    assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    let links = reply.json();
    assert_eq!(links["id"], "order-17");
    assert_eq!(links["statusQueryGetUri"], reply.header("location"));
    for (link, tail) in [
        ("sendEventPostUri", "/raiseEvent/{eventName}?"),
        ("terminatePostUri", "/terminate?reason={text}&"),
        ("purgeHistoryDeleteUri", "?"),
        ("restartPostUri", "/restart?"),
        ("suspendPostUri", "/suspend?reason={text}&"),
        ("resumePostUri", "/resume?reason={text}&"),
    ] {
        assert_eq!(links[link], format!("{origin}{tail}taskHub=TestHubName&connection=Storage"));
    }
    // They work as they are.
    assert_eq!(host.get(links["statusQueryGetUri"].as_str().unwrap()).await.status, 202);
    let send_event = links["sendEventPostUri"].as_str().unwrap().replace("{eventName}", "Approval");
    assert_eq!(host.post(&send_event, "true").await.status, 202);
    assert_eq!(host.output("order-17").await, true);
    assert_eq!(host.delete(links["purgeHistoryDeleteUri"].as_str().unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_start_without_an_id_gets_a_fresh_one() {
    let host = Host::start_default().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let reply = host.post("/api/orchestrators/Noop", "").await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let id = reply.json()["id"].as_str().unwrap().to_owned();
        assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        assert_eq!(host.output(&id).await, Value::Null);
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn an_empty_body_is_null_and_any_json_is_kept_as_written() {
    let host = Host::start_default().await;
    host.start("Eternal", "empty", "").await;
    assert_eq!(host.status("empty").await["input"], Value::Null);
    let text = "{\"b\" : [1.0, 12345678901234567890123],  \"a\":\"\\u00fc\"}";
    host.start("Eternal", "verbatim", text).await;
    let status = host.get(&instances::path("verbatim")).await;
    assert!(status.text().contains(&format!("\"input\":{text},")), "{}", status.text());
}

#[tokio::test]
async fn what_is_wrong_with_a_start_is_said_and_nothing_is_started() {
    let host = Host::start_default().await;
    let long = "x".repeat(257);
    let forbidden = "Orchestration instance ids must not contain /, \\, #, ?, or control characters.";
    for starter in ["orchestrators", "once"] {
        for (id, text) in [
            ("%40order", "Orchestration instance ids must not start with @."),
            ("a%2Fb", forbidden),
            ("a%5Cb", forbidden),
            ("a%23b", forbidden),
            ("a%3Fb", forbidden),
            ("a%0Ab", forbidden),
            (long.as_str(), "Instance ID lengths must not exceed 256 characters."),
        ] {
            let reply = host.post(&format!("/api/{starter}/Noop/{id}"), "null").await;
            assert_eq!((reply.status, reply.text()), (400, text), "{starter} {id}");
        }
        for body in
            ["{", "{\"a\":1}}", "nul", "'a'", "{\"a\":NaN}", &format!("{}1{}", "[".repeat(129), "]".repeat(129))]
        {
            let reply = host.post(&format!("/api/{starter}/Noop/malformed"), body.to_owned()).await;
            assert_eq!(reply.status, 400, "{body}: {reply:?}");
            assert!(!reply.text().is_empty(), "{body}");
        }
        let reply = host.post(&format!("/api/{starter}/Nowhere/unknown"), "null").await;
        assert_eq!(reply.status, 404);
        assert!(reply.text().starts_with(UNKNOWN), "{reply:?}");
    }
    assert_eq!(host.post("/api/orchestrators/Nowhere", "").await.status, 404);
    assert_eq!(host.post("/api/orchestrators/Noop", "{").await.status, 400);
    assert_eq!(host.list("").await, [] as [Value; 0]);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_not_found() {
    let host = Host::start_default().await;
    for (method, path) in [
        ("GET", "/api/orchestrators/Noop/a"),
        ("PUT", "/api/orchestrators/Noop"),
        ("POST", "/api/orchestrators/Noop/a/b"),
        ("POST", "/api/nothing"),
        ("POST", "/orchestrators/Noop"),
    ] {
        let reply = host.send(method, path, &[], "").await;
        assert_eq!((reply.status, reply.text()), (404, ""), "{method} {path}");
    }
}

#[tokio::test]
async fn a_function_sees_the_request_as_it_was_sent() {
    let host = Host::start_default().await;
    let target = "/api/echo/a%20b/c?x=1&x=2&e=%C3%BC";
    let reply = host.send("PATCH", target, &[("x-one", "1"), ("content-type", "text/x")], "b\u{fc}dy").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json; charset=utf-8"));
    let seen = reply.json();
    assert_eq!(seen["method"], "PATCH");
    assert_eq!(seen["url"], format!("http://{}{target}", host.address()));
    assert_eq!(seen["params"], json!({"rest": "a b/c"}));
    assert_eq!(seen["query"], json!([["x", "1"], ["x", "2"], ["e", "\u{fc}"]]));
    assert_eq!(seen["body"], "b\u{fc}dy");
    let headers = seen["headers"].as_array().unwrap();
    for wanted in [json!(["x-one", "1"]), json!(["content-type", "text/x"])] {
        assert!(headers.contains(&wanted), "{headers:?}");
    }
}
