//! A durable HTTP call and its answer as JSON: what Durable Functions shows as the input and the result of its built-in
//! activity. Values of headers that tell who sends are not shown.

use super::super::json_text::JsonObject;
use crate::durable::{HttpAnswer, HttpScheduled, Json, time_span};
use std::time::Duration;

/// The name of the built-in activity.
pub(super) const NAME: &str = "BuiltIn::HttpActivity";

/// The call, as the activity's input.
pub(super) fn input(call: &HttpScheduled) -> Json {
    let token_source = call
        .token_source
        .as_ref()
        .map(|source| JsonObject::new().string("kind", &source.kind).string("resource", &source.resource).finish());
    let timeout = call.timeout_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok()).map(time_span);
    let object = JsonObject::new()
        .string("method", &call.method)
        .string("uri", &call.uri)
        .raw("headers", &headers(&call.headers))
        .string_or_null("content", call.content.as_deref())
        .raw("tokenSource", token_source.as_deref().unwrap_or("null"))
        .raw("asynchronousPatternEnabled", if call.asynchronous_pattern { "true" } else { "false" })
        .string_or_null("timeout", timeout.as_deref());
    Json::from_stored(object.finish())
}

/// The answer, as the activity's result.
pub(super) fn result(answer: &HttpAnswer) -> Json {
    let object = JsonObject::new()
        .raw("statusCode", &answer.status.to_string())
        .raw("headers", &headers(&answer.headers))
        .string("content", &answer.content);
    Json::from_stored(object.finish())
}

/// An object with a member for each name; several values of one are joined.
fn headers(headers: &[(String, String)]) -> String {
    let mut joined: Vec<(&str, String)> = Vec::new();
    for (name, value) in headers {
        match joined.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, values)) => *values = format!("{values}, {value}"),
            None => joined.push((name, value.clone())),
        }
    }
    let add = |object: JsonObject, (name, value): &(&str, String)| {
        object.string(name, if HttpScheduled::is_credential(name) { "***" } else { value })
    };
    joined.iter().fold(JsonObject::new(), add).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_shown_without_its_credentials() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let call = HttpScheduled {
            sequence: 0,
            method: "POST".into(),
            uri: "http://a.test/x".into(),
            headers: vec![header("Accept", "a"), header("Authorization", "Bearer s3cret"), header("accept", "b")],
            content: Some("\"hi\"".into()),
            asynchronous_pattern: true,
            timeout_ms: Some(1_500.0),
            retry: None,
            token_source: None,
        };
        assert_eq!(
            input(&call).as_str(),
            r#"{"method":"POST","uri":"http://a.test/x","headers":{"Accept":"a, b","Authorization":"***"},"content":"\"hi\"","tokenSource":null,"asynchronousPatternEnabled":true,"timeout":"00:00:01.5000000"}"#
        );
        let answer = HttpAnswer { status: 200, headers: vec![header("set-cookie", "id=1")], content: "ok".into() };
        assert_eq!(result(&answer).as_str(), r#"{"statusCode":200,"headers":{"set-cookie":"***"},"content":"ok"}"#);
    }
}
