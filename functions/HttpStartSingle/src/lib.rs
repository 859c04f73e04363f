use soloist_sdk::prelude::*;

/// Starts an orchestrator as a singleton: while an instance of this id is live, every other start is told so.
///
/// The original checks the status and then starts, and two callers can slip in between. Here the start itself decides:
/// of any number of callers exactly one gets the 202.
#[http_trigger]
fn http_start_single(req: HttpRequest, starter: DurableClient) -> HttpResult {
    let function_name = req.required_param("functionName")?;
    let instance_id = req.required_param("instanceId")?;
    let input = req.payload()?; // an empty body is null, a malformed one a 400

    // Unknown function: 404. Illegal id: 400. A live instance: 409 `An instance with ID '…' already exists.`
    let options = StartOptions::new().with_instance_id(instance_id);
    let started = starter.start_new(function_name, &input, options)?.or_conflict()?;

    log::info(format!("started {function_name} as '{instance_id}'"));
    Ok(starter.create_check_status_response(&req, &started.instance_id)?)
}
