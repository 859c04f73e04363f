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

#[cfg(test)]
mod tests {
    use super::*;
    use soloist_sdk::testing::{ClientCall, TestHub};

    fn call(hub: &TestHub, method: &str, body: &str) -> HttpResult {
        let request = HttpRequest::for_test(method, "http://host/api/counters/steps", body);
        counter_http(request.with_param("key", "steps"), hub.client())
    }

    #[test]
    fn a_post_adds_the_number_in_the_body_or_1() {
        let hub = TestHub::new();
        let add = |input: &str| ClientCall::SignalEntity {
            entity: EntityId::new("Counter", "steps"),
            operation: "add".into(),
            input: input.into(),
            scheduled: None,
        };
        assert_eq!(call(&hub, "post", "").unwrap().status(), 202);
        assert_eq!(call(&hub, "post", "-5").unwrap().status(), 202);
        assert_eq!(call(&hub, "post", "\"five\"").unwrap_err().response().status(), 400);
        assert_eq!(hub.take_calls(), [add("1"), add("-5")]);
    }

    #[test]
    fn a_get_reads_the_counter() {
        let hub = TestHub::new();
        assert_eq!(call(&hub, "get", "").unwrap().status(), 404);
        let hub = hub.with_entity(&EntityId::new("Counter", "steps"), &7);
        assert_eq!(call(&hub, "get", "").unwrap().bytes(), b"7");
    }
}
