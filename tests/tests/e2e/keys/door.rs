//! Web pages and other hosts' names.

use super::*;

#[tokio::test]
async fn other_names_and_foreign_pages_are_kept_out_with_and_without_keys() {
    let app = app(&["Noop"]);
    app.write("host.json", r#"{"version":"2.0","extensions":{"soloist":{"allowedHosts":["pages.example"]}}}"#);
    for keys in [false, true] {
        let builder = Host::builder().app(app.path());
        let host = if keys { builder.with_keys().start().await } else { builder.start().await };
        let key = if keys { host.key(MASTER) } else { String::new() };
        let ask = async |method: &str, target: &str, headers: &[(&str, &str)]| {
            let headers = [&[("x-functions-key", key.as_str())], headers].concat();
            host.send(method, target, &headers, "").await
        };
        let starts = ["/api/start/Noop/a", "/runtime/webhooks/durabletask/orchestrators/Noop", "/admin/functions/Noop"];
        for target in starts.into_iter().chain(["/api/anonymous/x", "/admin/host/ping", "/"]) {
            let reply = ask("POST", target, &[("host", "evil.example")]).await;
            assert_eq!(reply.status, 421, "{target}");
            assert!(reply.text().contains("extensions.soloist.allowedHosts"), "{reply:?}");
            for origin in ["http://evil.example", "null", "https://127.0.0.1.evil.example"] {
                let reply = ask("POST", target, &[("origin", origin)]).await;
                assert_eq!(reply.status, 403, "{target} {origin}");
                assert!(reply.text().contains("extensions.soloist.allowedHosts"), "{reply:?}");
            }
        }
        for (header, value) in [
            ("host", "localhost"),
            ("host", "pages.example:443"),
            ("host", "[::1]:80"),
            ("origin", "http://localhost:3000"),
            ("origin", "https://pages.example"),
        ] {
            assert_eq!(ask("POST", "/api/anonymous/x", &[(header, value)]).await.status, 200, "{header}: {value}");
        }
        // Without keys what a page may ask for matters, too: a function may start something by GET.
        let read = if keys { 200 } else { 403 };
        assert_eq!(ask("GET", "/api/function/x", &[("origin", "http://evil.example")]).await.status, read);
        assert_eq!(ask("GET", "/api/function/x", &[("sec-fetch-site", "cross-site")]).await.status, read);
        assert_eq!(ask("GET", "/api/function/x", &[("sec-fetch-site", "same-origin")]).await.status, 200);
    }
}

#[tokio::test]
async fn with_keys_every_address_may_be_listened_on() {
    let app = app(&["Noop"]);
    let host = Host::builder().app(app.path()).with_keys().argument("--address").argument("0.0.0.0").start().await;
    let port = host.address().rsplit(':').next().unwrap().to_owned();
    let client = Client::new(&format!("http://127.0.0.2:{port}"));
    assert_eq!(client.get("/api/function/x").await.status, 401);
    assert_eq!(with_key(&client, "GET", "/api/function/x", &host.key(DEFAULT), "").await.status, 200);
    assert!(host.log().contains("not encrypted"), "{}", host.log());
}
