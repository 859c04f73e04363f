//! What an HTTP function made with the SDK is asked, and what becomes of its answer, from end to end.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use serde_json::json;
use soloist_tests::{
    Host,
    folder::{AppCopy, COMPONENT},
};

#[tokio::test]
async fn a_body_of_any_bytes_goes_in_and_out_unchanged() {
    let host = Host::start_default().await;
    let every: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..3_000_000_u32).map(|byte| (byte % 251) as u8).collect();
    for body in [every, large, Vec::new(), vec![0], b"\r\n\r\n0\r\n\r\n".to_vec()] {
        let reply = host.send("POST", "/api/mirror", &[("content-type", "image/png")], body.clone()).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "image/png"));
        assert!(reply.body == body, "{} bytes came back of {}", reply.body.len(), body.len());
        assert_eq!(reply.header("content-length"), body.len().to_string());
    }
    let reply = host.send("PUT", "/api/mirror?status=418", &[], "\u{fc}").await;
    assert_eq!((reply.status, reply.header("content-type"), reply.text()), (418, "application/octet-stream", "\u{fc}"));
    for status in [204, 205, 304] {
        let reply = host.send("POST", &format!("/api/mirror?status={status}"), &[], "for nobody").await;
        assert_eq!((reply.status, reply.body.len()), (status, 0));
    }
}

#[tokio::test]
async fn query_headers_and_cookies_arrive_in_order_and_as_often_as_they_were_sent() {
    let host = Host::start_default().await;
    let headers = [("X-Many", "1"), ("x-many", "2"), ("cookie", "a=1"), ("cookie", "b=\"2\"; c=3")];
    let target = "/api/echo/x?key=1&other=%C3%BC+%26&key=2&empty=&bare&KEY=3&key=1";
    let seen = host.send("GET", target, &headers, "").await.json();
    let pairs =
        json!([["key", "1"], ["other", "ü &"], ["key", "2"], ["empty", ""], ["bare", ""], ["KEY", "3"], ["key", "1"]]);
    assert_eq!(seen["query"], pairs);
    assert!(seen["url"].as_str().unwrap().ends_with(target), "as it was sent: {seen}");
    let of = |name: &str| -> Vec<String> {
        let own = seen["headers"].as_array().unwrap().iter().filter(|header| header[0] == name);
        own.map(|header| header[1].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of("x-many"), ["1", "2"]);
    assert_eq!(of("cookie").join("; "), "a=1; b=\"2\"; c=3");
    let reply = host.send("GET", "/api/mirror?set=a%3D1%3B%20Path%3D/&set=b%3D2", &[("cookie", "s=1")], "").await;
    let set: Vec<&str> = reply.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert_eq!((set, reply.header("x-cookie")), (vec!["a=1; Path=/", "b=2"], "s=1"));
}

#[tokio::test]
async fn head_and_options_reach_the_functions_that_take_them() {
    let app = AppCopy::of(&["HttpMirror", "HttpStartSingle"]);
    app.write("Some/function.json", function("HttpMirror", r#"["GET", "head", "Options"]"#, "some"));
    app.write("Get/function.json", function("HttpMirror", r#"["get"]"#, "only"));
    app.write("Post/function.json", function("HttpMirror", r#"["post"]"#, "only"));
    let host = Host::builder().app(app.path()).set("extensions.http.customHeaders.X-Own", "yes").start().await;
    for path in ["/api/mirror/x", "/api/some"] {
        let head = host.send("HEAD", path, &[], "").await;
        assert_eq!((head.status, head.header("x-method"), head.body.len()), (200, "HEAD", 0), "{path}");
        let options = host.send("OPTIONS", path, &[("origin", &format!("http://{}", host.address()))], "asked").await;
        assert_eq!((options.status, options.header("x-method"), options.text()), (200, "OPTIONS", "asked"), "{path}");
        assert_eq!(options.header("x-own"), "yes", "{path}");
    }
    let head = host.send("HEAD", "/api/mirror", &[], "a body").await;
    assert_eq!((head.header("content-length"), head.body.len()), ("6", 0), "what GET would send");
    assert_eq!(host.send("DELETE", "/api/mirror", &[], "").await.header("x-method"), "DELETE");
    for method in ["HEAD", "OPTIONS", "PUT"] {
        assert_eq!(host.send(method, "/api/only", &[], "").await.status, 404, "{method} is not listed");
    }
    for method in ["GET", "POST"] {
        assert_eq!(host.send(method, "/api/only", &[], "").await.header("x-method"), method);
    }
    assert_eq!(host.post("/api/some", "").await.status, 404);
}

/// A `function.json` of one of the test app's functions: its methods as JSON, and its route.
fn function(entry: &str, methods: &str, route: &str) -> String {
    format!(
        r#"{{ "scriptFile": "../{COMPONENT}", "entryPoint": "{entry}", "bindings": [
            {{ "name": "req", "type": "httpTrigger", "direction": "in", "authLevel": "anonymous", "methods": {methods}, "route": "{route}" }},
            {{ "name": "$return", "type": "http", "direction": "out" }} ] }}"#
    )
}

#[tokio::test]
async fn every_form_of_a_route_leads_to_its_function() {
    let app = AppCopy::of(&["HttpEcho", "HttpStartSingle"]);
    let routes = [
        ("Literal", "shop/new"),
        ("Number", "shop/{id:int:min(1)}"),
        ("Mixed", "shop/v{major:int}.{minor}"),
        ("Any", "shop/{name}"),
        ("Optional", "list/{page:int?}"),
        ("Default", "pick/{size:alpha=small}/{count=1}"),
        ("File", "files/{name}.{ext?}"),
        ("Rest", "rest/{*path}"),
        ("Pattern", "code/{code:regex(^[A-Z]{{2}}\\\\d+$)}"),
        ("Braces", "a{{b}}"),
    ];
    for (name, route) in routes {
        app.write(&format!("{name}/function.json"), function("HttpEcho", "[]", &format!("{name}-is/{route}")));
        // The same without the name: the most specific one that matches is asked.
        let entry = if name == "Literal" { "HttpMirror" } else { "HttpEcho" };
        app.write(&format!("{name}2/function.json"), function(entry, "[]", route));
    }
    let host = Host::builder().app(app.path()).set("extensions.http.routePrefix", "v1/api").start().await;
    assert!(!host.printed().contains("excluded:"), "{}", host.printed());
    for (path, params) in [
        ("shop/17", json!({ "id": "17" })),
        ("SHOP/17/", json!({ "id": "17" })),
        ("shop/0", json!({ "name": "0" })),
        ("shop/v2.1-rc", json!({ "major": "2", "minor": "1-rc" })),
        ("shop/a%2Fb%20%C3%BC", json!({ "name": "a/b ü" })),
        ("list", json!({})),
        ("list/3", json!({ "page": "3" })),
        ("pick", json!({ "size": "small", "count": "1" })),
        ("pick/large", json!({ "size": "large", "count": "1" })),
        ("pick/large/2", json!({ "size": "large", "count": "2" })),
        ("files/a.b.txt", json!({ "name": "a.b", "ext": "txt" })),
        ("files/readme", json!({ "name": "readme" })),
        ("rest", json!({ "path": "" })),
        ("rest/a//b/c", json!({ "path": "a//b/c" })),
        ("code/DE42", json!({ "code": "DE42" })),
        ("a%7Bb%7D", json!({})),
    ] {
        let reply = host.get(&format!("/v1/api/{path}")).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(reply.json()["params"], params, "{path}");
    }
    assert_eq!(host.get("/v1/api/shop/new").await.header("x-method"), "GET", "the literal goes first");
    for path in ["v1/api/list/x", "v1/api/pick/1", "v1/api/code/D42", "v1/api/Number-is/shop/0", "api/list", "v1/api/a"]
    {
        assert_eq!(host.get(&format!("/{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_finish_asking_is_told_so_and_cut_off() {
    let host = Host::start_default().await;
    let ask = |request: &'static str, drip: &'static [u8]| {
        let address = host.address();
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let (mut told, mut some) = (Vec::new(), [0; 4096]);
            loop {
                match stream.read(&mut some) {
                    Ok(0) => return String::from_utf8_lossy(&told).into_owned(),
                    Ok(length) => told.extend_from_slice(&some[..length]),
                    // Nothing yet: a drip gains nothing.
                    Err(error)
                        if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
                    {
                        let _ = stream.write_all(drip);
                    }
                    Err(_) => return String::from_utf8_lossy(&told).into_owned(),
                }
            }
        })
    };
    let head = ask("GET /api/mirror HTTP/1.1\r\nhost: localhost\r\nx-slow: ", b"x");
    let body = ask("POST /api/mirror HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\nhalf", b"y");
    let chunk = ask("POST /api/mirror HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n", b"");
    for asked in [head, body, chunk] {
        let told = asked.await.unwrap();
        assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("connection: close\r\n"), "{told:?}");
    }
    assert_eq!(host.get("/api/mirror").await.status, 200);
}
