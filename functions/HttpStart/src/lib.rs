use soloist_sdk::prelude::*;

/// Starts an orchestrator. The host makes the instance id, so nothing can stand in the way.
#[http_trigger]
fn http_start(req: HttpRequest, starter: DurableClient) -> HttpResult {
    let function_name = req.required_param("functionName")?;
    let started = starter.start_new(function_name, &req.payload()?, StartOptions::new())?.or_conflict()?;

    log::info(format!("started {function_name} as '{}'", started.instance_id));
    Ok(starter.create_check_status_response(&req, &started.instance_id)?)
}
