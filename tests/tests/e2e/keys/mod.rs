//! Who may call a host that asks for keys.

mod admin;
mod commands;
mod door;
mod levels;
mod links;
mod secrecy;
mod stranger;

use soloist_tests::{Client, Host, Reply, folder::AppCopy, instances::MANAGEMENT};

/// Functions of the test app, and the echo once for each level.
fn app(functions: &[&str]) -> AppCopy {
    let app = AppCopy::of(functions);
    for level in ["anonymous", "function", "system", "admin"] {
        // No route may begin with `admin`.
        let route = if level == "admin" { "as-admin" } else { level };
        app.write(&format!("Echo_{level}/function.json"), http("HttpEcho", level, &format!("{route}/{{*rest}}"), ""));
    }
    let client = r#"{ "name": "client", "direction": "in", "type": "durableClient" },"#;
    let starter = http("HttpStartSingle", "function", "start/{functionName}/{instanceId}", client);
    app.write("Starter/function.json", starter);
    // Without a level: it is `function`.
    let urls = http("HttpClient", "", "client/{operation}/{instanceId}", client);
    app.write("Client/function.json", urls.replace(r#""authLevel": "","#, ""));
    app
}

fn http(handler: &str, level: &str, route: &str, more: &str) -> String {
    format!(
        r#"{{ "scriptFile": "../soloist_test_app.wasm", "entryPoint": "{handler}", "bindings": [
            {{ "name": "req", "type": "httpTrigger", "direction": "in", "authLevel": "{level}", "route": "{route}" }},
            {more}
            {{ "name": "$return", "type": "http", "direction": "out" }}] }}"#
    )
}

/// A host that asks for keys.
async fn host(app: &AppCopy) -> Host {
    Host::builder().app(app.path()).with_keys().start().await
}

const MASTER: &str = "master _master";
const DEFAULT: &str = "host default";
const SYSTEM: &str = "system durabletask_extension";
const STARTER: &str = "function starter default";

async fn with_key(client: &Client, method: &str, target: &str, key: &str, body: &str) -> Reply {
    let headers = [("x-functions-key", key), ("content-type", "application/json")];
    client.send(method, target, &headers, body.to_owned()).await
}

/// Starts by the starter function; returns the answer with its links.
async fn start(host: &Host, function: &str, id: &str, input: &str) -> Reply {
    let reply = with_key(host, "POST", &format!("/api/start/{function}/{id}"), &host.key(STARTER), input).await;
    assert_eq!(reply.status, 202, "{reply:?}");
    reply
}

/// Waits until an instance has this status.
async fn wait_for(host: &Host, id: &str, wanted: &str) {
    let key = host.key(SYSTEM);
    soloist_tests::eventually(&format!("{id} is {wanted}"), || async {
        let reply = with_key(host, "GET", &format!("{MANAGEMENT}/instances/{id}"), &key, "").await;
        (reply.json()["runtimeStatus"] == wanted).then_some(())
    })
    .await;
}

/// The path and query of a link: a host that is started again may listen on another port.
fn target(link: &str) -> String {
    let rest = link.strip_prefix("http://").expect("a link");
    rest[rest.find('/').expect("a link has a path")..].to_owned()
}

fn link(links: &Reply, name: &str) -> String {
    let link = links.json()[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
    target(&link.replace("{eventName}", "Evt").replace("{text}", "why"))
}
