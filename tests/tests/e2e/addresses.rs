//! Where the management API is reached, and where its links lead.

use serde_json::Value;
use soloist_tests::{
    Client, Host,
    instances::{MANAGEMENT, path},
};

/// The API's path of the original's version 1.
const V1: &str = "/admin/extensions/DurableTaskExtension";

async fn starter(host: &Host) -> Value {
    let reply = host.get("/admin/host/durableClient").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn functions_with_a_durable_client_are_handed_the_starter_json() {
    let host = Host::start_default().await;
    let handed = host.post("/api/client/starter/x", "").await;
    assert_eq!((handed.status, handed.json()), (200, starter(&host).await));
    let start = format!("{MANAGEMENT}/orchestrators/EnvironmentOfAnActivity?timeout=200&pollingInterval=1");
    let without = host.post(&start, "").await;
    assert!(without.status == 200 && !without.text().contains("rpcBaseUrl"), "{without:?}");
}

/// Every operation that a base path serves.
async fn whole_life(host: &Client, base: &str, id: &str) {
    let instance = format!("{base}/instances/{id}");
    let started = host.post(&format!("{base}/orchestrators/WaitForApproval/{id}"), "7").await;
    assert_eq!(started.status, 202, "{started:?}");
    assert_eq!(host.post(&format!("{base}/orchestrators/WaitForApproval/{id}"), "7").await.status, 409);
    host.wait_for_status(id, "Running").await;
    assert_eq!(host.get(&format!("{instance}?showInput=true")).await.json()["input"], 7);
    assert_eq!(host.get(&format!("{base}/instances?instanceIdPrefix={id}")).await.json()[0]["instanceId"], id);
    for (operation, code) in [("suspend", 202), ("suspend", 409), ("resume", 202), ("resume", 409), ("rewind", 409)] {
        assert_eq!(host.post(&format!("{instance}/{operation}"), "").await.status, code, "{operation}");
    }
    assert_eq!(host.delete(&instance).await.status, 409);
    assert_eq!(host.post(&format!("{instance}/raiseEvent/Approval"), "1").await.status, 202);
    host.wait_for_status(id, "Completed").await;
    assert_eq!(host.post(&format!("{instance}/terminate"), "").await.status, 410);
    assert_eq!(host.post(&format!("{instance}/restart?restartWithNewInstanceId=false"), "").await.status, 202);
    assert_eq!(host.post(&format!("{instance}/terminate"), "").await.status, 202);
    assert_eq!(host.delete(&instance).await.status, 200);
    assert_eq!(host.get(&instance).await.status, 404);
    assert_eq!(host.get(&format!("{base}/entities/counter/{id}")).await.status, 404);
    assert_eq!(host.post(&format!("{base}/makeprimary"), "").await.status, 200);
}

#[tokio::test]
async fn every_base_path_serves_the_whole_api() {
    let host = Host::start_default().await;
    let rpc = starter(&host).await["rpcBaseUrl"].as_str().unwrap().to_owned();
    assert!(
        rpc.starts_with(&format!("http://{}/runtime/rpc/", host.address())) && rpc.ends_with("/durabletask/"),
        "{rpc}"
    );
    for (base, id) in [(MANAGEMENT, "v2"), (V1, "v1"), (rpc.trim_end_matches('/'), "rpc")] {
        whole_life(&host, base, id).await;
    }
}

#[tokio::test]
async fn the_secret_path_is_another_one_in_each_process_and_never_shown() {
    let mut host = Host::builder().argument("--log-level").argument("trace").start().await;
    let secret_of = |starter: &Value| {
        let url = starter["rpcBaseUrl"].as_str().unwrap().to_owned();
        let secret = url.split('/').nth(5).unwrap().to_owned();
        assert!(secret.len() >= 32, "{url}");
        (url, secret)
    };
    let (url, secret) = secret_of(&starter(&host).await);
    let started = host.post(&format!("{url}orchestrators/WaitForApproval/a"), "").await;
    let status = host.get(&format!("{url}instances/a?showHistory=true")).await;
    assert_eq!((started.status, status.status), (202, 202));
    assert_eq!(status.header("location"), format!("http://{}{}?showHistory=true", host.address(), path("a")));
    for reply in [&started, &status] {
        assert!(!format!("{:?} {}", reply.headers, reply.text()).contains(&secret), "{reply:?}");
    }
    host.wait_for_log("request answered").await;
    assert!(!host.log().contains(&secret) && !host.printed().contains(&secret));
    host.kill9();
    host.restart().await;
    let (fresh, _) = secret_of(&starter(&host).await);
    assert_eq!(host.get(&format!("{fresh}instances/a")).await.status, 202);
    let stale = url.splitn(4, '/').last().unwrap();
    assert_eq!(host.get(&format!("/{stale}instances/a")).await.status, 404);
}

#[tokio::test]
async fn links_work_for_any_legal_id() {
    let host = Host::start_default().await;
    for id in
        ["a b", "100%", "a%20b", "%2F", "🦀", "ünï", "a&b=c", "a+b", "a;b,c:d@e", "{eventName}{text}", "..", "'\"<>|^`"]
    {
        let escaped: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let started = host.post(&format!("{MANAGEMENT}/orchestrators/WaitForApproval/{escaped}"), "").await;
        if id == "%2F" {
            assert_eq!((started.status, &started.json()["id"]), (202, &id.into()), "escaped once, not twice");
        }
        assert_eq!(started.status, 202, "{id}: {started:?}");
        let links = started.json();
        assert_eq!(links["id"], id);
        let link =
            |name: &str| links[name].as_str().unwrap().replace("{eventName}", "Approval").replace("{text}", "why");
        assert_eq!(host.get(started.header("location")).await.json()["instanceId"], id);
        assert_eq!(host.post(&link("suspendPostUri"), "").await.status, 202, "{id}");
        let status = host.get(&link("statusQueryGetUri")).await;
        assert_eq!((status.status, &status.json()["instanceId"]), (202, &id.into()));
        assert_eq!(host.get(status.header("location")).await.json()["instanceId"], id, "{status:?}");
        assert_eq!(host.post(&link("resumePostUri"), "").await.status, 202, "{id}");
        assert_eq!(host.post(&link("sendEventPostUri"), "1").await.status, 202, "{id}");
        soloist_tests::eventually("its end", || async {
            (host.get(&link("statusQueryGetUri")).await.status == 200).then_some(())
        })
        .await;
        assert_eq!(host.post(&link("terminatePostUri"), "").await.status, 410, "{id}");
        assert_eq!(host.post(&link("restartPostUri"), "").await.status, 202, "{id}");
        assert_eq!(host.delete(&link("purgeHistoryDeleteUri")).await.status, 200, "{id}");
    }
}

#[tokio::test]
async fn links_name_the_proxy_only_where_the_app_declares_one() {
    let headers = [("x-forwarded-host", "front.example.org"), ("x-forwarded-proto", "https")];
    let start = format!("{MANAGEMENT}/orchestrators/Noop");
    let plain = Host::start_default().await;
    let reply = plain.send("POST", &start, &headers, "").await;
    assert!(reply.header("location").starts_with(&format!("http://{}/", plain.address())), "{reply:?}");
    let behind = Host::builder().set("extensions.durableTask.httpSettings.useForwardedHost", "true").start().await;
    let reply = behind.send("POST", &start, &headers, "").await;
    let links = reply.json();
    for (name, link) in links.as_object().unwrap().iter().filter(|(name, _)| *name != "id") {
        let link = link.as_str().unwrap();
        assert!(link.starts_with("https://front.example.org/runtime/webhooks/durabletask/"), "{name}: {link}");
    }
    let starter = behind.send("GET", "/admin/host/durableClient", &headers, "").await.json();
    assert_eq!(starter["baseUrl"], "https://front.example.org/runtime/webhooks/durabletask");
    assert!(starter["rpcBaseUrl"].as_str().unwrap().starts_with(&format!("http://{}/", behind.address())), "{starter}");
}
