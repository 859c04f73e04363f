use soloist_sdk::prelude::*;

/// Calls an activity three times, one after the other.
#[orchestrator]
async fn e1_hello_sequence(ctx: OrchestrationContext) -> Result<Vec<String>> {
    Ok(vec![
        ctx.call_activity("E1_SayHello", "Tokyo").await?,
        ctx.call_activity("E1_SayHello", "Seattle").await?,
        ctx.call_activity("E1_SayHello", "London").await?,
    ])
}

#[cfg(test)]
mod tests {
    use soloist_sdk::Json;
    use soloist_sdk::testing::Script;

    #[test]
    fn three_cities_are_greeted_in_order() {
        let script = Script::run("E1_HelloSequence", &(), |_activity, city| {
            Ok(Json::encode(&format!("Hello {}!", city.decode::<String>()?))?)
        });
        assert_eq!(script.output::<Vec<String>>(), ["Hello Tokyo!", "Hello Seattle!", "Hello London!"]);
    }
}
