//! `logging.logLevel` of host.json: which lines are in the log.

use soloist_tests::{Host, folder::AppCopy};

/// What a host logs of an orchestration, of a function that prints and of one that fails.
async fn log_of(host: &Host) -> String {
    host.start("Noop", "noop", "").await;
    host.output("noop").await;
    assert_eq!(host.get("/api/stream/sleeps?0").await.text(), "slept");
    assert_eq!(host.get("/api/stream/panics").await.status, 500);
    assert_eq!(host.get("/api/HttpPanic").await.status, 500);
    host.log()
}

const LEVEL: &str = "AzureFunctionsJobHost__logging__logLevel__";

#[tokio::test]
async fn each_category_is_logged_from_its_own_level_on() {
    let level = |category: &str| format!("{LEVEL}{category}");
    let quiet = Host::builder().variable(&level("default"), "none");
    let some = quiet.variable(&level("Function.HttpStream"), "Information");
    let log = log_of(&some.variable(&level("function.httpstream.user"), "Warning").start().await).await;
    assert!(log.contains("a function failed") && log.contains("function=\"HttpStream\""), "{log}");
    for absent in ["asleep", "HttpPanic", "orchestration ended", "soloist::hub"] {
        assert!(!log.contains(absent), "{absent} in {log}");
    }
    let durable = Host::builder().variable(&level("default"), "Error");
    let log = log_of(&durable.variable(&level("Host.Triggers.DurableTask"), "information").start().await).await;
    assert!(log.contains("orchestration ended") && log.contains("HttpPanic") && !log.contains("asleep"), "{log}");
}

#[tokio::test]
async fn the_flag_goes_first_and_host_json_before_the_default() {
    let app = AppCopy::of(&["HttpPanic", "HttpStartSingle", "Noop"]);
    app.write("host.json", r#"{ "version": "2.0", "logging": { "logLevel": { "default": "None" } } }"#);
    let run = async |host: Host| {
        host.start("Noop", "noop", "").await;
        host.output("noop").await;
        assert_eq!(host.get("/api/HttpPanic").await.status, 500);
        host.log()
    };
    assert_eq!(run(Host::builder().app(app.path()).start().await).await, "");
    let flag = Host::builder().app(app.path()).argument("--log-level").argument("info");
    let log = run(flag.start().await).await;
    assert!(log.contains("orchestration ended") && log.contains("a function failed"), "{log}");
    app.write("host.json", "{ \"version\": \"2.0\",\n \"logging\": { \"logLevel\": { \"default\": \"Inform\" } } }");
    let refused = Host::builder().app(app.path()).refused().await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("logging.logLevel.default must be one of Trace") && said.contains("host.json:2:"), "{said}");
}
