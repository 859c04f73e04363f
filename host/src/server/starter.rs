//! The starter JSON: what Durable Functions hands to a client in another process, so that it knows whom to call.

use super::json_text::JsonObject;
use super::keys::KeyValue;
use super::links::{MANAGEMENT_PATH, ManagementUrls, Origin};

/// Stands in the management URLs for the id, which the client puts in. It needs no escaping.
const INSTANCE_ID: &str = "INSTANCEID";

/// The starter JSON of a host that is reached at `origin`. With `rpc_base_url` clients use that for everything, without one
/// they use the other URLs, which have this key.
pub(super) fn starter_json(origin: &Origin, hub: &str, key: Option<&KeyValue>, rpc_base_url: Option<&str>) -> String {
    let links = ManagementUrls::new(origin, hub, None).with_key(key);
    let base = format!("{origin}{MANAGEMENT_PATH}");
    let query = links.query();
    let create = format!("{base}/orchestrators/{{functionName}}[/{{instanceId}}]");
    let wait = "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}";
    let creation = JsonObject::new()
        .string("createNewInstancePostUri", &format!("{create}?{query}"))
        .string("createAndWaitOnNewInstancePostUri", &format!("{create}?{wait}&{query}"));
    let urls = links.for_instance(INSTANCE_ID, None);
    JsonObject::new()
        .string("taskHubName", hub)
        .raw("connectionName", "null")
        .raw("creationUrls", &creation.finish())
        .raw("managementUrls", &urls.payload_json())
        .string("baseUrl", &base)
        // Clients without `rpcBaseUrl` refuse to touch entities if it is empty.
        .string("requiredQueryStringParameters", query)
        .string_or_null("rpcBaseUrl", rpc_base_url)
        .string("httpBaseUrl", &base)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_documented_one() {
        let origin = Origin::of_address("127.0.0.1:7071".parse().unwrap());
        let json: serde_json::Value =
            serde_json::from_str(&starter_json(&origin, "Hub", None, Some("http://127.0.0.1:7071/x/"))).unwrap();
        let base = "http://127.0.0.1:7071/runtime/webhooks/durabletask";
        let query = "taskHub=Hub&connection=Storage";
        let instance = format!("{base}/instances/INSTANCEID");
        let start = format!("{base}/orchestrators/{{functionName}}[/{{instanceId}}]");
        let wanted = serde_json::json!({
            "taskHubName": "Hub",
            "connectionName": null,
            "creationUrls": {
                "createNewInstancePostUri": format!("{start}?{query}"),
                "createAndWaitOnNewInstancePostUri":
                    format!("{start}?timeout={{timeoutInSeconds}}&pollingInterval={{intervalInSeconds}}&{query}"),
            },
            "managementUrls": {
                "id": "INSTANCEID",
                "statusQueryGetUri": format!("{instance}?{query}"),
                "sendEventPostUri": format!("{instance}/raiseEvent/{{eventName}}?{query}"),
                "terminatePostUri": format!("{instance}/terminate?reason={{text}}&{query}"),
                "rewindPostUri": format!("{instance}/rewind?reason={{text}}&{query}"),
                "purgeHistoryDeleteUri": format!("{instance}?{query}"),
                "restartPostUri": format!("{instance}/restart?{query}"),
                "suspendPostUri": format!("{instance}/suspend?reason={{text}}&{query}"),
                "resumePostUri": format!("{instance}/resume?reason={{text}}&{query}"),
            },
            "baseUrl": base,
            "requiredQueryStringParameters": query,
            "rpcBaseUrl": "http://127.0.0.1:7071/x/",
            "httpBaseUrl": base,
        });
        assert_eq!(json, wanted);
        let without: serde_json::Value = serde_json::from_str(&starter_json(&origin, "Hub", None, None)).unwrap();
        assert_eq!(without["rpcBaseUrl"], serde_json::Value::Null);
    }
}
