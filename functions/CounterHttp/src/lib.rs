use soloist_sdk::prelude::*;

/// `POST counters/{key}` adds the number in the body, or 1; `GET counters/{key}` reads the counter.
#[http_trigger]
fn counter_http(req: HttpRequest, client: DurableClient) -> HttpResult {
    let counter = EntityId::new("Counter", req.required_param("key")?);
    if req.method() == "GET" {
        return Ok(match client.read_entity::<i64>(&counter)? {
            Some(entity) => HttpResponse::ok().text(entity.state.to_string()),
            None => HttpResponse::new(404).text("nothing has been counted yet"),
        });
    }
    // Once this is accepted it will be done, exactly once. Nobody waits for it.
    let amount = req.json::<Option<i64>>()?.unwrap_or(1);
    client.signal_entity(&counter, "add", &amount)?;
    Ok(HttpResponse::new(202))
}
