//! What a durable request holds, and what its answer becomes.

use super::*;
use crate::{
    durable::{InstanceId, TokenSource},
    wasm::outbound::{AppSettingTokens, tests::recording_server},
};

fn call(uri: &str, headers: &[(&str, &str)]) -> HttpScheduled {
    HttpScheduled {
        sequence: 0,
        method: "post".into(),
        uri: uri.into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        content: Some("{}".into()),
        asynchronous_pattern: true,
        timeout_ms: None,
        retry: None,
        token_source: None,
    }
}

fn sent(call: &HttpScheduled, poll: Option<&str>) -> Result<HeaderMap, Failure> {
    let target = target(poll.unwrap_or(&call.uri))?;
    Ok(to_send(call, poll.is_some(), &target)?.headers().clone())
}

#[test]
fn origins_are_scheme_host_and_port() {
    let same = |a: &str, b: &str| is_same_origin(a, &target(b).unwrap());
    assert!(same("http://a.test/x", "http://A.test:80/y?z"));
    assert!(same("https://a.test", "https://a.test:443/"));
    for other in ["https://a.test/", "http://a.test:81/", "http://b.test/", "http://sub.a.test/", "http://a.test.evil/"]
    {
        assert!(!same("http://a.test/", other), "{other}");
    }
}

#[test]
fn the_hosts_own_headers_cannot_be_set() {
    let set = ["Host", "Content-Length", "Connection", "TE", "Upgrade", "Expect", "Keep-Alive", "Proxy-Authorization"];
    let headers: Vec<_> = set.iter().map(|name| (*name, "9")).chain([("Content-Type", "application/json")]).collect();
    let headers = sent(&call("http://a.test:8080/x", &headers), None).unwrap();
    let names: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!(names, ["content-type: application/json", "host: a.test:8080"]);
}

#[test]
fn what_no_header_may_have_is_refused_and_its_value_is_not_told() {
    for value in ["s3cret\r\nX: y", "s3cret\n", "s3cret\0"] {
        let failure = sent(&call("http://a.test/", &[("X-A", value)]), None).unwrap_err();
        assert!(failure.non_retriable && failure.message.contains("x-a") && !failure.message.contains("s3cret"));
    }
    let multipart = sent(&call("http://a.test/", &[("Content-Type", "Multipart/form-data; boundary=x")]), None);
    assert_eq!(multipart.unwrap_err().message, "Multipart content is not supported with CallHttpAsync.");
}

#[test]
fn a_poll_has_the_calls_headers_but_for_what_is_the_calls_alone() {
    let headers = [("X-Functions-Key", "k"), ("Authorization", "t"), ("Content-Type", "a/b"), ("Accept", "c/d")];
    let call = call("http://a.test/x", &headers);
    let kept = |poll: &str| -> Vec<String> {
        sent(&call, Some(poll)).unwrap().keys().map(ToString::to_string).filter(|name| name != "host").collect()
    };
    assert_eq!(kept("http://a.test/status"), ["authorization", "accept"]);
    assert_eq!(kept("https://a.test/status"), ["accept"], "another scheme is another origin");
}

#[test]
fn urls_that_lead_nowhere_are_refused() {
    for bad in
        ["", "/x", "a.test/x", "ftp://a.test/", "http://", "http://u:p@a.test/", "http://a.test:99999/", "http://a b/"]
    {
        assert!(target(bad).is_err_and(|failure| failure.non_retriable), "{bad}");
    }
    assert_eq!(target("http://a.test/x#part").unwrap().path(), "/x");
}

#[test]
fn no_byte_of_an_answer_is_lost() {
    assert_eq!(text("ü€".as_bytes().to_vec()), "ü€");
    let bytes: Vec<u8> = (0..=255).collect();
    let shown = text(bytes.clone());
    assert_eq!(shown.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<_>>(), bytes);
}

#[tokio::test]
async fn a_token_is_sent_to_the_calls_own_origin_and_to_no_other() {
    let (own, own_heads) = recording_server().await;
    let (other, other_heads) = recording_server().await;
    let settings = [("My_Token".to_owned(), " s3cret ".to_owned()), ("EMPTY".to_owned(), String::new())];
    let provider = Arc::new(AppSettingTokens::new(settings.into_iter().collect()));
    let http = DurableHttp {
        tokens: TokenProviders::default().with(AppSettingTokens::KIND, provider),
        content_bytes_max: 100,
    };
    let outbound = Outbound::new(vec!["127.0.0.1".parse().unwrap()]);
    let request = |kind: &str, resource: &str, poll: Option<String>| {
        let source = TokenSource { kind: kind.into(), resource: resource.into(), options: None };
        let call = HttpScheduled { token_source: Some(source), ..call(&own, &[("Authorization", "Basic x")]) };
        let instance_id = InstanceId::parse("i").unwrap();
        HttpRequestCall { call: Box::new(call), poll, name: "O".into(), instance_id }
    };
    let answer = http.request(&outbound, &request("appsetting", "MY_TOKEN", None)).await.unwrap();
    assert_eq!((answer.status, &*answer.content), (200, "hello"));
    http.request(&outbound, &request("AppSetting", "My_Token", Some(other.clone()))).await.unwrap();
    let heads = |heads: &std::sync::Mutex<Vec<String>>| heads.lock().unwrap().join("").to_ascii_lowercase();
    assert!(heads(&own_heads).contains("authorization: bearer s3cret\r\n") && !heads(&own_heads).contains("basic"));
    assert!(!heads(&other_heads).contains("authorization"), "{}", heads(&other_heads));
    for (kind, resource, text) in [
        ("AzureManagedIdentity", "https://a.test", "no token source of the kind 'AzureManagedIdentity'"),
        ("AppSetting", "Missing", "add it to Values of local.settings.json"),
        ("AppSetting", "EMPTY", "the app setting is empty"),
    ] {
        let failure = http.request(&outbound, &request(kind, resource, None)).await.unwrap_err();
        assert!(failure.non_retriable && failure.message.contains(text), "{failure:?}");
        assert!(failure.message.contains("AppSetting"), "what there is: {failure:?}");
    }
}
