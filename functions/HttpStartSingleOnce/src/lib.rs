use soloist_sdk::prelude::*;

/// Starts an orchestrator under an id that is used once for ever: an instance that has ended refuses the start, too.
///
/// The code is that of HttpStartSingle. The difference is in function.json: `"overridableExistingInstanceStates": "None"`.
#[http_trigger]
fn http_start_single_once(req: HttpRequest, starter: DurableClient) -> HttpResult {
    let function_name = req.required_param("functionName")?;
    let instance_id = req.required_param("instanceId")?;
    let input = req.payload()?;

    let options = StartOptions::new().with_instance_id(instance_id);
    let started = starter.start_new(function_name, &input, options)?.or_conflict()?;

    Ok(starter.create_check_status_response(&req, &started.instance_id)?)
}
