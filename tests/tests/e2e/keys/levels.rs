//! Each level with each key, in the header and in the query.

use soloist_tests::instances::MANAGEMENT;

use super::*;

#[tokio::test]
async fn each_level_takes_its_keys_in_the_header_and_in_the_query() {
    let app = app(&["Noop"]);
    let host = host(&app).await;
    let own = host.key("function echo_function default");
    let other = host.key(STARTER);
    let keys = [host.key(MASTER), host.key(DEFAULT), own, other, host.key(SYSTEM), "wrong".repeat(8), String::new()];
    for (target, level) in [
        ("/api/anonymous/x", [200, 200, 200, 200, 200, 200, 200]),
        ("/api/function/x", [200, 200, 200, 401, 401, 401, 401]),
        ("/api/system/x", [200, 401, 401, 401, 200, 401, 401]),
        ("/api/as-admin/x", [200, 401, 401, 401, 401, 401, 401]),
        (&format!("{MANAGEMENT}/instances"), [200, 401, 401, 401, 200, 401, 401]),
        ("/admin/host/status", [200, 401, 401, 401, 401, 401, 401]),
        ("/admin/functions", [200, 401, 401, 401, 401, 401, 401]),
        ("/admin/host/keys", [200, 401, 401, 401, 401, 401, 401]),
        ("/admin/host/ping", [200; 7]),
        ("/runtime/health/live", [200; 7]),
        ("/runtime/health/ready", [200; 7]),
        ("/", [200; 7]),
    ] {
        for (key, wanted) in keys.iter().zip(level) {
            let in_header = with_key(&host, "GET", target, key, "").await;
            let in_query = host.get(&format!("{target}?a=1&Code={key}")).await;
            for reply in [in_header, in_query] {
                assert_eq!(reply.status, wanted, "{target}: {reply:?}");
                assert!(wanted != 401 || reply.body.is_empty(), "{target}: {reply:?}");
            }
        }
        let without = host.get(target).await;
        assert_eq!(without.status, level[6], "{target}: {without:?}");
    }
}

#[tokio::test]
async fn the_header_counts_first_and_what_is_unclear_opens_nothing() {
    let app = app(&["Noop"]);
    let host = host(&app).await;
    let (key, wrong) = (host.key(DEFAULT), "0".repeat(64));
    let target = "/api/function/x";
    let right = format!("{target}?code={key}");
    assert_eq!(with_key(&host, "GET", &right, &wrong, "").await.status, 401);
    assert_eq!(with_key(&host, "GET", &right, "", "").await.status, 401);
    assert_eq!(with_key(&host, "GET", &format!("{target}?code={wrong}"), &key, "").await.status, 200);
    let long = "x".repeat(30_000);
    for unclear in [
        format!("{target}?code={key}&code={key}"),
        format!("{target}?code={wrong}&code={key}"),
        format!("{target}?code={key}&code="),
        format!("{target}?code=%20{key}"),
        format!("{target}?code={key}%0d%0ax-functions-key:%20{key}"),
        format!("{target}?code={key}%00"),
        format!("{target}?code=%ff%fe"),
        format!("{target}?code={}", key.to_uppercase()),
        format!("{target}?code={long}"),
        format!("{target}?xcode={key}"),
        format!("{target}#code={key}"),
    ] {
        let reply = host.get(&unclear).await;
        assert_eq!((reply.status, reply.text()), (401, ""), "{unclear:.200}");
    }
    let twice = [("x-functions-key", key.as_str()), ("x-functions-key", key.as_str())];
    assert_eq!(host.send("GET", target, &twice, "").await.status, 401);
    assert_eq!(host.send("GET", target, &[("x-functions-key", "\u{fc}")], "").await.status, 401);
    assert_eq!(with_key(&host, "GET", target, &long, "").await.status, 401);
    // A stranger does not learn what there is.
    for (method, target) in [
        ("GET", "/runtime/webhooks/durabletask/instances/none"),
        ("POST", "/runtime/webhooks/durabletask/nonsense"),
        ("POST", "/runtime/webhooks/durabletask/orchestrators/Nowhere"),
        ("DELETE", "/runtime/webhooks/durabletask/instances"),
        ("GET", "/runtime/webhooks/durabletask/entities"),
        ("GET", "/admin/functions/Nowhere"),
        ("GET", "/admin/nonsense"),
        ("POST", "/admin/functions/Noop"),
    ] {
        let reply = host.send(method, target, &[], "").await;
        assert_eq!((reply.status, reply.text()), (401, ""), "{method} {target}");
    }
}

#[tokio::test]
async fn a_function_does_not_see_the_key_it_was_called_with() {
    let app = app(&["Noop"]);
    let host = host(&app).await;
    let key = host.key(DEFAULT);
    for level in ["anonymous", "function"] {
        let reply = host.get(&format!("/api/{level}/x?a=1&code={key}&b=2")).await;
        assert_eq!(reply.json()["query"], serde_json::json!([["a", "1"], ["b", "2"]]), "{reply:?}");
        let in_header = with_key(&host, "GET", &format!("/api/{level}/x?code=own"), &key, "").await;
        assert_eq!(in_header.json()["query"], serde_json::json!([["code", "own"]]));
        assert!(!reply.text().contains(&key) && !in_header.text().contains(&key));
    }
    // What is no key is the function's own.
    let reply = host.get("/api/anonymous/x?code=from-a-login-page").await;
    assert_eq!(reply.json()["query"], serde_json::json!([["code", "from-a-login-page"]]));
}

#[tokio::test]
async fn with_dev_nobody_is_asked() {
    let app = app(&["Noop"]);
    let host = Host::builder().app(app.path()).start().await;
    for target in ["/api/function/x", "/api/as-admin/x", "/admin/functions", "/api/function/x?code=wrong"] {
        assert_eq!(host.get(target).await.status, 200, "{target}");
    }
    let reply = host.post("/api/start/Noop/a", "").await;
    assert_eq!(reply.status, 202);
    assert!(!reply.text().contains("code="), "{reply:?}");
    assert!(!host.data().join("keys.json").exists());
    assert!(!host.printed().contains("keys ("), "{}", host.printed());
    assert_eq!(host.post("/admin/host/keys/mine", "").await.status, 409);
}

#[tokio::test]
async fn the_starter_json_is_for_the_system_key_and_its_urls_need_no_other() {
    let app = app(&["WaitForApproval"]);
    let host = host(&app).await;
    let target = "/admin/host/durableClient";
    for key in [host.key(DEFAULT), String::new(), "0".repeat(64)] {
        assert_eq!(with_key(&host, "GET", target, &key, "").await.status, 401);
    }
    assert_eq!(host.get(target).await.status, 401);
    assert_eq!(with_key(&host, "GET", target, &host.key(MASTER), "").await.status, 200);
    let reply = with_key(&host, "GET", target, &host.key(SYSTEM), "").await;
    assert!(!reply.text().contains(&host.key(SYSTEM)) && !reply.text().contains(&host.key(MASTER)));
    let starter = reply.json();
    let create = starter["creationUrls"]["createNewInstancePostUri"].as_str().unwrap();
    let create = create.replace("{functionName}", "WaitForApproval").replace("[/{instanceId}]", "/a");
    assert_eq!(host.post(&create, "").await.status, 202);
    let status = starter["managementUrls"]["statusQueryGetUri"].as_str().unwrap();
    assert_eq!(host.get(&status.replace("INSTANCEID", "a")).await.status, 202);
    let query = starter["requiredQueryStringParameters"].as_str().unwrap();
    let list = host.get(&format!("{}/instances?{query}", starter["baseUrl"].as_str().unwrap())).await;
    assert_eq!(list.json().as_array().unwrap().len(), 1);
    let rpc = starter["rpcBaseUrl"].as_str().unwrap();
    assert_eq!(host.get(&format!("{rpc}instances/a")).await.status, 202, "the secret path needs no key");
    assert_eq!(host.get(&format!("{}instances/a", rpc.replace("/durabletask", "0/durabletask"))).await.status, 404);
    let v1 = "/admin/extensions/DurableTaskExtension/instances";
    assert_eq!(host.get(v1).await.status, 401);
    assert_eq!(with_key(&host, "GET", v1, &host.key(SYSTEM), "").await.status, 200);
    // What was made of the system key goes with it.
    let rotate = "/admin/host/systemkeys/durabletask_extension";
    assert_eq!(with_key(&host, "POST", rotate, &host.key(MASTER), "").await.status, 200);
    assert_eq!(host.get(&status.replace("INSTANCEID", "a")).await.status, 401);
}
