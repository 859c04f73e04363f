use serde::Deserialize;
use soloist_sdk::prelude::*;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    /// Where the job's status is: JSON with a member `status`.
    url: String,
    /// How long to rest between two looks.
    #[serde(default = "thirty_seconds")]
    polling_seconds: u64,
    /// How long to watch at most.
    #[serde(default = "six_hours")]
    expiry_seconds: u64,
}

fn thirty_seconds() -> u64 {
    30
}

fn six_hours() -> u64 {
    6 * 60 * 60
}

#[derive(Deserialize)]
struct Job {
    status: String,
}

/// Monitor: looks at a job of another service until it is done or has failed, or until its time is up. Returns how it stands.
///
/// Neither the waits nor the requests take a thread or any memory, and a crash in between changes nothing. A look that fails
/// says nothing about the job, so the next one decides.
#[orchestrator]
async fn e3_monitor(ctx: OrchestrationContext, input: Input) -> Result<String> {
    let expiry = ctx.current_time() + Duration::from_secs(input.expiry_seconds);
    while ctx.current_time() < expiry {
        let request = DurableHttpRequest::get(&input.url).timeout(Duration::from_secs(10));
        match ctx.call_http(request).await.and_then(|response| response.error_for_status()?.json::<Job>()) {
            Ok(job) if job.status == "done" || job.status == "failed" => return Ok(job.status),
            Ok(job) => ctx.set_custom_status(&job.status)?,
            Err(failure) => ctx.log(Level::Warn, format!("cannot look at the job: {failure}")),
        }
        ctx.create_timer(Duration::from_secs(input.polling_seconds)).await;
    }
    Ok("expired".into())
}

#[cfg(test)]
mod tests {
    use soloist_sdk::prelude::*;
    use soloist_sdk::testing::{Action, Script};

    fn watch(mut statuses: impl Iterator<Item = Result<&'static str>>) -> Script {
        let input = Json::from_text(r#"{"url":"https://jobs.example/7","pollingSeconds":60,"expirySeconds":300}"#);
        Script::run("E3_Monitor", &input.unwrap(), |call, _| {
            assert_eq!(call, "GET https://jobs.example/7");
            let body = format!(r#"{{"status":"{}"}}"#, statuses.next().expect("another look")?);
            Ok(Json::encode(&DurableHttpResponse::for_test(200, body))?)
        })
    }

    fn timers(script: &Script) -> usize {
        script.actions().iter().filter(|action| matches!(action, Action::CreateTimer(_))).count()
    }

    #[test]
    fn it_looks_until_the_job_is_done_and_bears_with_failures() {
        let script = watch([Ok("queued"), Err(Failure::new("no answer")), Ok("running"), Ok("done")].into_iter());
        assert_eq!(script.output::<String>(), "done");
        assert_eq!(timers(&script), 3);
    }

    #[test]
    fn its_patience_ends() {
        let script = watch(std::iter::repeat_with(|| Ok("running")));
        assert_eq!(script.output::<String>(), "expired");
        assert_eq!(timers(&script), 5);
    }
}
