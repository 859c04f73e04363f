//! The starters, and an echo.

use serde_json::{Map, Value, json};
use soloist_sdk::prelude::*;
use soloist_sdk::{PurgeFilter, StatusOptions, StatusQuery};

/// `POST orchestrators/{functionName}/{instanceId}`: one live instance per id.
#[http_trigger]
pub fn http_start_single(req: HttpRequest, client: DurableClient) -> HttpResult {
    start_with_id(&req, &client)
}

/// `POST once/{functionName}/{instanceId}`: an id is used once for ever. The policy is that of the binding.
#[http_trigger]
pub fn http_start_single_once(req: HttpRequest, client: DurableClient) -> HttpResult {
    start_with_id(&req, &client)
}

/// `POST orchestrators/{functionName}`: the host makes the id.
#[http_trigger]
pub fn http_start(req: HttpRequest, client: DurableClient) -> HttpResult {
    let name = req.required_param("functionName")?;
    let started = client.start_new(name, &req.payload()?, StartOptions::new())?.or_conflict()?;
    Ok(client.create_check_status_response(&req, &started.instance_id)?)
}

fn start_with_id(req: &HttpRequest, client: &DurableClient) -> HttpResult {
    let name = req.required_param("functionName")?;
    let id = req.required_param("instanceId")?;
    let started = client.start_new(name, &req.payload()?, StartOptions::new().with_instance_id(id))?.or_conflict()?;
    Ok(client.create_check_status_response(req, &started.instance_id)?)
}

/// `POST schedule/{functionName}/{instanceId}?at=`: starts it at this time, in Unix milliseconds.
#[http_trigger]
pub fn http_schedule(req: HttpRequest, client: DurableClient) -> HttpResult {
    let name = req.required_param("functionName")?;
    let id = req.required_param("instanceId")?;
    let at = req.query("at").and_then(|at| at.parse().ok()).ok_or(BadRequest::new("say when: ?at="))?;
    let options = StartOptions::new().with_instance_id(id).scheduled_at(Timestamp::from_millis(at));
    let started = client.start_new(name, &req.payload()?, options)?.or_conflict()?;
    Ok(client.create_check_status_response(&req, &started.instance_id)?)
}

/// `POST client/{operation}/{instanceId}`: does to the instance what the durable client can do, and says what it was told.
#[http_trigger]
pub fn http_client(req: HttpRequest, client: DurableClient) -> HttpResult {
    let id = req.required_param("instanceId")?;
    let answer = match req.required_param("operation")? {
        "raise" => json!(client.raise_event(id, req.query("event").unwrap_or("Evt"), &req.payload()?)?),
        "terminate" => json!(client.terminate(id, "by a function")?),
        "purge" => json!(client.purge(id)?),
        "status" => json!(client.get_status(id, StatusOptions::default())?.map(|status| status.custom_status)),
        "urls" => json!(client.management_urls(id)?.status_query_get_uri),
        // Those whose ids begin so, over all pages.
        "list" => {
            let prefix = Some(id.to_owned());
            let mut query = StatusQuery { instance_id_prefix: prefix, top: Some(2), ..StatusQuery::default() };
            let mut ids = Vec::new();
            loop {
                let page = client.list_instances(&query)?;
                ids.extend(page.instances.into_iter().map(|status| status.instance_id));
                query.continuation = page.continuation;
                if query.continuation.is_none() {
                    break json!(ids);
                }
            }
        }
        // What clients of other processes need to know.
        "starter" => {
            std::env::var("SOLOIST_DURABLE_CLIENT").ok().map_or(Ok(json!(null)), |json| serde_json::from_str(&json))?
        }
        // A function that prints what it was handed, in each way that there is, and then panics with it.
        "tells" => {
            let starter = std::env::var("SOLOIST_DURABLE_CLIENT").unwrap_or_default();
            let links = client.management_urls(id)?.terminate_post_uri;
            println!("stdout {starter} {links}");
            eprintln!("stderr {starter} {links}");
            log::warn(format!("log {starter} {links}"));
            panic!("panic {starter} {links}");
        }
        "terminateWithChildren" => json!(client.terminate_with_children(id, "by a function")?),
        "suspend" => json!(client.suspend(id, "by a function")?),
        "resume" => json!(client.resume(id, "by a function")?),
        "rewind" => json!(client.rewind(id, "by a function")?),
        "restart" => json!(client.restart(id)?),
        "restartWithNewId" => json!(client.restart_with_new_id(id)?),
        // The instances that were created since this one.
        "purgeSince" => {
            let created_from = client.get_status(id, StatusOptions::default())?.map(|status| status.created_time);
            json!(client.purge_by(&PurgeFilter { created_from, ..PurgeFilter::default() })?)
        }
        "history" => {
            let options = StatusOptions { show_history: true, show_history_output: true, ..StatusOptions::default() };
            json!(client.get_status(id, options)?.and_then(|status| status.history))
        }
        _ => return Err(BadRequest::new("no such operation").into()),
    };
    Ok(HttpResponse::ok().json(&answer)?)
}

/// Sleeps `?ms=` milliseconds.
#[http_trigger]
pub fn http_sleep(req: HttpRequest) -> HttpResponse {
    let ms = req.query("ms").and_then(|ms| ms.parse().ok()).unwrap_or(0);
    std::thread::sleep(std::time::Duration::from_millis(ms));
    HttpResponse::ok().text("awake")
}

/// Says what it was asked: `{method, url, params: {…}, query: [[name, value]…], headers: [[name, value]…], body}`.
#[http_trigger]
pub fn http_echo(req: HttpRequest) -> HttpResult {
    let params: Map<String, Value> = req.params().map(|(name, value)| (name.into(), value.into())).collect();
    Ok(HttpResponse::ok().json(&json!({
        "method": req.method(),
        "url": req.url(),
        "params": params,
        "query": req.query_pairs().collect::<Vec<_>>(),
        "headers": req.headers().collect::<Vec<_>>(),
        "body": String::from_utf8_lossy(req.body()),
    }))?)
}

/// Sends the body back, byte for byte, with the status `?status=` and each query parameter `?set=` as a cookie; the method and
/// the cookies that came are headers `x-method` and `x-cookie`.
#[http_trigger]
pub fn http_mirror(req: HttpRequest) -> HttpResponse {
    let status = req.query("status").and_then(|status| status.parse().ok()).unwrap_or(200);
    let response = HttpResponse::new(status)
        .header("content-type", req.header("content-type").unwrap_or("application/octet-stream"))
        .header("x-method", req.method())
        .header("x-cookie", req.header("cookie").unwrap_or_default());
    let cookies = req.query_pairs().filter(|(name, _)| *name == "set");
    cookies.fold(response, |response, (_, cookie)| response.header("set-cookie", cookie)).body(req.body())
}

/// Says hello: as little as a function can do.
#[http_trigger]
pub fn http_hello() -> HttpResponse {
    HttpResponse::ok().text("Hello!")
}
