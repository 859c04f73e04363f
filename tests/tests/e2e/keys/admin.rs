//! The admin pages.

use serde_json::json;
use soloist_tests::eventually;

use super::*;

#[tokio::test]
async fn keys_are_managed_over_http() {
    let app = app(&["Noop"]);
    let host = host(&app).await;
    let master = host.key(MASTER);
    let ask = async |method: &str, target: &str, body: &str| with_key(&host, method, target, &master, body).await;
    for (target, names) in [
        ("/admin/host/keys", &["default"][..]),
        ("/admin/host/functionKeys", &["default"]),
        ("/admin/host/systemkeys", &["_master", "durabletask_extension"]),
        ("/admin/functions/starter/keys", &["default"]),
        ("/admin/functions/Echo_admin/keys", &[]),
    ] {
        let list = ask("GET", target, "").await;
        let keys = list.json()["keys"].clone();
        let listed: Vec<&str> = keys.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
        assert_eq!(listed, names, "{list:?}");
        assert!(keys.as_array().unwrap().iter().all(|key| key["value"].is_null()), "values cannot be read back");
        assert_eq!(list.json()["links"][0]["rel"], "self");
    }
    for (target, opens) in [
        ("/admin/host/keys/mine", "/api/function/x"),
        ("/admin/functions/Echo_function/keys/mine", "/api/function/x"),
        ("/admin/host/systemkeys/mine", "/api/system/x"),
        ("/admin/host/systemkeys/durabletask_extension", "/runtime/webhooks/durabletask/instances"),
    ] {
        let is_new = target.ends_with("mine");
        let made = ask("POST", target, "").await;
        assert_eq!(made.status, if is_new { 201 } else { 200 }, "{made:?}");
        let first = made.json()["value"].as_str().unwrap().to_owned();
        assert_eq!(with_key(&host, "GET", opens, &first, "").await.status, 200, "{target}");
        let rotated = ask("POST", target, "").await;
        assert_eq!(rotated.status, 200);
        assert_eq!(with_key(&host, "GET", opens, &first, "").await.status, 401, "{target}");
        let second = rotated.json()["value"].as_str().unwrap().to_owned();
        assert_eq!(with_key(&host, "GET", opens, &second, "").await.status, 200, "{target}");
        let name = target.rsplit('/').next().unwrap();
        let chosen = "chosen by an operator".to_owned();
        let put = ask("PUT", target, &json!({"name": name, "value": chosen}).to_string()).await;
        assert_eq!((put.status, put.json()["value"].as_str()), (200, Some(chosen.as_str())));
        assert_eq!(with_key(&host, "GET", opens, &chosen, "").await.status, 200, "{target}");
        let deleted = ask("DELETE", target, "").await;
        assert_eq!(deleted.status, if is_new { 204 } else { 400 }, "{deleted:?}");
        if is_new {
            assert_eq!(with_key(&host, "GET", opens, &chosen, "").await.status, 401);
            assert_eq!(ask("DELETE", target, "").await.status, 404);
        } else {
            assert!(deleted.text().contains("Cannot delete System Key."), "{deleted:?}");
        }
    }
    for (method, target, body, code) in [
        ("PUT", "/admin/host/keys/a", "{}", 400),
        ("PUT", "/admin/host/keys/a", r#"{"name":"a","value":"short"}"#, 400),
        ("PUT", "/admin/host/keys/a", r#"{"name":"b","value":"long enough for a key"}"#, 400),
        ("PUT", "/admin/host/keys/a", "{", 400),
        ("POST", "/admin/host/keys/a%20b", "", 400),
        ("POST", "/admin/host/keys/a%0d%0ax:y", "", 400),
        ("POST", "/admin/host/keys", "", 404),
        ("GET", "/admin/host/keys/none", "", 404),
        ("GET", "/admin/functions/None/keys", "", 404),
        ("POST", "/admin/functions/None/keys/a", "", 404),
        ("DELETE", "/admin/host/systemkeys/_master", "", 400),
        ("GET", "/admin/host/nothing", "", 404),
        ("GET", "/admin/host/keys/%ff", "", 404),
    ] {
        let reply = ask(method, target, body).await;
        assert_eq!(reply.status, code, "{method} {target}: {reply:?}");
        assert!(!reply.text().contains("long enough"), "{reply:?}");
    }
    let new_master =
        ask("POST", "/admin/host/systemkeys/_master", "").await.json()["value"].as_str().unwrap().to_owned();
    assert_eq!(ask("GET", "/admin/host/status", "").await.status, 401);
    assert_eq!(with_key(&host, "GET", "/admin/host/status", &new_master, "").await.status, 200);
}

#[tokio::test]
async fn functions_are_shown_and_run() {
    let app = app(&["Noop", "EchoToken", "Ticks", "Counter"]);
    let host = host(&app).await;
    let master = host.key(MASTER);
    let ask = async |method: &str, target: &str, body: &str| with_key(&host, method, target, &master, body).await;
    let all = ask("GET", "/admin/functions", "").await.json();
    assert_eq!(all.as_array().unwrap().len(), 10, "{all}");
    let echo = ask("GET", "/Admin/Functions/echo_FUNCTION/", "").await.json();
    let base = format!("http://{}", host.address());
    assert!(all.as_array().unwrap().contains(&echo));
    assert_eq!(echo["name"], "Echo_function");
    assert_eq!(echo["href"], format!("{base}/admin/functions/Echo_function"));
    assert_eq!(echo["invoke_url_template"], format!("{base}/api/function/{{*rest}}"));
    assert_eq!(echo["script_root_path_href"], format!("{base}/admin/vfs/site/wwwroot/Echo_function/"));
    assert_eq!(echo["config_href"], format!("{base}/admin/vfs/site/wwwroot/Echo_function/function.json"));
    assert_eq!(echo["config"]["bindings"][0]["authLevel"], "function");
    assert_eq!((&echo["isDisabled"], &echo["language"]), (&json!(false), &json!("wasm")));
    assert_eq!(ask("GET", "/admin/functions/Noop", "").await.json()["invoke_url_template"], json!(null));
    let status = ask("GET", "/admin/host/status", "").await.json();
    assert_eq!((&status["state"], &status["id"]), (&json!("Running"), &json!("TestHubName")));

    for (function, body, code) in [
        ("EchoToken", r#"{"input":"[1]"}"#, 202),
        ("EchoToken", r#"{"input":"no JSON"}"#, 202),
        ("EchoToken", "", 202),
        ("Ticks", "{}", 202),
        ("noop", r#"{"input":""}"#, 202),
        ("Echo_function", "{}", 400),
        ("Counter", "{}", 400),
        ("EchoToken", "[", 400),
        ("EchoToken", "7", 400),
        ("Nowhere", "{}", 404),
    ] {
        let reply = ask("POST", &format!("/admin/functions/{function}"), body).await;
        assert_eq!(reply.status, code, "{function} {body}: {reply:?}");
    }
    eventually("the activity and the timer function have run", || async {
        let log = host.log();
        let ran = log.matches("an activity that was run by hand has ended").count() == 3;
        (ran && log.contains("tick of ")).then_some(())
    })
    .await;
    let instances = ask("GET", "/runtime/webhooks/durabletask/instances", "").await.json();
    assert!(instances.as_array().unwrap().iter().any(|instance| instance["name"] == "Noop"), "{instances}");
}
