//! Changed code: what runs finishes on the code that it began with, what stalls can be given another.

use std::fs;

use serde_json::Value;
use soloist_tests::{
    Host, HostBuilder, eventually,
    folder::{AppCopy, COMPONENT, component},
    instances::path,
};

/// The text in the test app's component that says what `Versioned` does.
const CODE: &str = "soloist test code: text=one step=VersionA spin=0000";

/// The test app's component with another text in that place.
pub(crate) fn changed(text: &str, step: &str, spin: u32) -> Vec<u8> {
    let mut bytes = component();
    let code = format!("soloist test code: text={text} step={step} spin={spin:04}");
    assert_eq!(code.len(), CODE.len());
    let places: Vec<_> = bytes.windows(CODE.len()).enumerate().filter(|(_, at)| *at == CODE.as_bytes()).collect();
    let [(place, _)] = places[..] else { panic!("the text is there {} times", places.len()) };
    bytes[place..place + code.len()].copy_from_slice(code.as_bytes());
    bytes
}

/// An app whose functions share one file, which can be replaced by one of another name.
struct Versions {
    app: AppCopy,
    data: tempfile::TempDir,
}

const FUNCTIONS: [&str; 3] = ["HttpStartSingle", "Versioned", "VersionA"];

impl Versions {
    fn new() -> Self {
        Self { app: AppCopy::of(&FUNCTIONS), data: tempfile::tempdir().unwrap() }
    }

    /// Replaces the component: a new file, and the old ones are gone.
    fn deploy(&self, name: &str, bytes: &[u8]) {
        for entry in fs::read_dir(self.app.path()).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "wasm") {
                fs::remove_file(file).unwrap();
            }
        }
        self.app.write(name, bytes);
        for function in FUNCTIONS {
            let text = format!("{function}/function.json");
            let json = fs::read_to_string(self.app.path().join(&text)).unwrap();
            let mut json: Value = serde_json::from_str(&json).unwrap();
            json["scriptFile"] = format!("../{name}").into();
            self.app.write(&text, json.to_string());
        }
    }

    fn host(&self) -> HostBuilder {
        Host::builder().app(self.app.path()).data(self.data.path())
    }

    /// Lets no call compute for longer than this, and no replay for longer than that times its turns.
    fn hurried_host(&self) -> HostBuilder {
        self.host().set("extensions.soloist.guestCpuMilliseconds", "50")
    }

    fn cached(&self) -> usize {
        fs::read_dir(self.data.path().join("cache")).unwrap().count()
    }
}

/// Starts an instance and waits until its activity has ended: then it waits for `Go`.
pub(crate) async fn begin(host: &Host, id: &str) {
    host.start("Versioned", id, "").await;
    host.wait_for_status(id, "Running").await;
    eventually("the activity ends", || async {
        host.history(id).await.iter().any(|event| event["EventType"] == "TaskCompleted").then_some(())
    })
    .await;
}

async fn finish(host: &Host, id: &str) -> Value {
    for event in ["Go", "End"] {
        assert_eq!(host.raise(id, event, "1").await.status, 202);
    }
    host.output(id).await
}

#[tokio::test]
async fn a_running_instance_ends_on_the_old_code_and_a_new_one_runs_the_new() {
    let versions = Versions::new();
    let mut host = versions.host().start().await;
    begin(&host, "old").await;
    host.kill9();
    versions.deploy("second.wasm", &changed("two", "VersionA", 0));
    // The old code is in the database, not only among what was compiled.
    fs::remove_dir_all(versions.data.path().join("cache")).unwrap();
    host.restart().await;
    begin(&host, "new").await;
    assert_eq!(finish(&host, "old").await, "one");
    assert_eq!(finish(&host, "new").await, "two");
    // Nobody needs the old one now.
    eventually("it is deleted", || async { host.log().contains("component deleted").then_some(()) }).await;
    assert_eq!(versions.cached(), 2);
    host.kill9();
    host.restart().await;
    assert_eq!(versions.cached(), 1, "nor what was compiled of it");
    begin(&host, "newer").await;
    assert_eq!(finish(&host, "newer").await, "two");
    assert!(!host.log().contains("component deleted"));
}

#[tokio::test]
async fn a_component_that_an_instance_needs_is_not_deleted() {
    let versions = Versions::new();
    let mut host = versions.host().start().await;
    for id in ["first", "second", "third"] {
        begin(&host, id).await;
    }
    host.stop().await;
    versions.deploy("second.wasm", &changed("two", "VersionA", 0));
    host.restart().await;
    // One ends, one is terminated; the last one keeps the component for all the time that it takes.
    assert_eq!(finish(&host, "first").await, "one");
    assert_eq!(host.post(&format!("{}/terminate?reason=x", path("second")), "").await.status, 202);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert!(!host.log().contains("component deleted"));
    host.stop().await;
    host.restart().await;
    assert_eq!(finish(&host, "third").await, "one");
    eventually("it is deleted", || async { host.log().contains("component deleted").then_some(()) }).await;
}

/// A host on which instance `id` stalls: its code takes longer to replay than it may.
async fn stalled(versions: &Versions, id: &str) -> Host {
    versions.deploy(COMPONENT, &changed("one", "VersionA", 400));
    let mut host = versions.host().start().await;
    begin(&host, id).await;
    host.stop().await;
    let host = versions.hurried_host().start().await;
    assert_eq!(host.raise(id, "Go", "1").await.status, 202);
    diagnostics(&host, id, "replay was stopped: CpuLimitExceeded").await;
    host
}

async fn diagnostics(host: &Host, id: &str, text: &str) -> String {
    eventually(&format!("{id} says {text:?}"), || async {
        let status = host.status(id).await;
        assert_eq!(status["runtimeStatus"], "Running", "{status}");
        status["diagnostics"].as_str().filter(|diagnostics| diagnostics.contains(text)).map(str::to_owned)
    })
    .await
}

async fn resume(host: &Host, id: &str) {
    let reply = host.post(&format!("{}/resume?reason=corrected", path(id)), "").await;
    assert_eq!(reply.status, 202, "{reply:?}");
}

#[tokio::test]
async fn an_instance_that_stalls_is_resumed_on_corrected_code_and_stays_on_it() {
    let versions = Versions::new();
    let mut host = stalled(&versions, "a").await;
    host.stop().await;
    versions.deploy("corrected.wasm", &changed("two", "VersionA", 0));
    host = versions.hurried_host().start().await;
    diagnostics(&host, "a", "replay was stopped: CpuLimitExceeded").await;
    assert!(!host.log().contains("component deleted"), "the one that stalls needs it");
    resume(&host, "a").await;
    eventually("it goes on", || async { host.status("a").await["diagnostics"].is_null().then_some(()) }).await;
    eventually("the old one is deleted", || async { host.log().contains("component deleted").then_some(()) }).await;
    // It is the instance's own from now on, whatever is deployed next.
    host.kill9();
    versions.deploy("third.wasm", &changed("six", "VersionA", 0));
    host = versions.hurried_host().start().await;
    assert_eq!(host.raise("a", "End", "1").await.status, 202);
    assert_eq!(host.output("a").await, "two");
    begin(&host, "b").await;
    assert_eq!(finish(&host, "b").await, "six");
}

#[tokio::test]
async fn code_that_differs_from_the_history_leaves_the_instance_as_it_is_and_shows_both_sides() {
    for format in ["text", "json"] {
        let versions = Versions::new();
        let mut host = stalled(&versions, "a").await;
        host.stop().await;
        versions.deploy("other.wasm", &changed("two", "VersionB", 0));
        host = versions.hurried_host().argument("--log-format").argument(format).start().await;
        resume_once_stalled(&host).await;
        let text = diagnostics(&host, "a", "Non-Deterministic workflow detected").await;
        assert!(text.contains("VersionA") && text.contains("VersionB"), "{text}");
        let log = host.wait_for_log("activity VersionA").await;
        let of_diff = |line: &&str| line.contains("activity VersionA") && !line.contains("the instance stalls");
        let differing: Vec<&str> = log.lines().filter(of_diff).collect();
        let [line] = differing[..] else { panic!("one line of the log has it: {differing:#?}") };
        if format == "text" {
            assert!(line.contains("> ") && line.contains(" | activity VersionB"), "{line}");
            assert!(log.contains("the history records") && log.contains("| the code asks for"));
        } else {
            let entry: Value = serde_json::from_str(line).unwrap();
            let fields = &entry["fields"];
            assert_eq!(fields["message"], "a replay differs from its history");
            let side = |name: &str| serde_json::from_str::<Vec<String>>(fields[name].as_str().unwrap()).unwrap();
            assert!(side("history")[0].contains("VersionA") && side("code")[0].contains("VersionB"), "{entry}");
        }
        // The third attempt is right.
        host.kill9();
        versions.deploy("corrected.wasm", &changed("two", "VersionA", 0));
        host = versions.hurried_host().start().await;
        resume_once_stalled(&host).await;
        assert_eq!(host.raise("a", "End", "1").await.status, 202);
        assert_eq!(host.output("a").await, "two");
    }
}

#[tokio::test]
async fn a_rewound_instance_goes_on_with_mended_code_and_stays_on_it() {
    let versions = Versions::new();
    versions.deploy("first.wasm", &changed("one", "VersionA", 9999));
    let mut host = versions.hurried_host().start().await;
    host.start("Versioned", "a", "").await;
    host.wait_for_status("a", "Failed").await;
    host.kill9();
    versions.deploy("second.wasm", &changed("two", "VersionA", 0));
    host.restart().await;
    assert_eq!(host.post(&format!("{}/rewind", path("a")), "").await.status, 202);
    eventually("the activity ends", || async {
        host.history("a").await.iter().any(|event| event["EventType"] == "TaskCompleted").then_some(())
    })
    .await;
    host.kill9();
    host.restart().await;
    assert_eq!(finish(&host, "a").await, "two");
}

async fn resume_once_stalled(host: &Host) {
    diagnostics(host, "a", "replay was stopped: CpuLimitExceeded").await;
    resume(host, "a").await;
}

#[tokio::test]
async fn an_instance_that_stalls_can_be_terminated_restarted_and_purged() {
    let versions = Versions::new();
    let mut host = stalled(&versions, "a").await;
    let restart = |with_new_id: bool| format!("{}/restart?restartWithNewInstanceId={with_new_id}", path("a"));
    // A resume without other code tries again, and it stalls again.
    resume(&host, "a").await;
    diagnostics(&host, "a", "replay was stopped: CpuLimitExceeded").await;
    // While it is live, it can neither be purged nor restarted under its id.
    assert_eq!(host.send("DELETE", &path("a"), &[], "").await.status, 409);
    assert_eq!(host.post(&restart(false), "").await.status, 409);
    host.stop().await;
    versions.deploy("corrected.wasm", &changed("two", "VersionA", 0));
    host = versions.hurried_host().start().await;
    diagnostics(&host, "a", "replay was stopped").await;
    let reply = host.post(&restart(true), "").await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let other = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(finish(&host, &other).await, "two");
    let reply = host.post(&format!("{}/terminate?reason=enough", path("a")), "").await;
    assert_eq!(reply.status, 202, "{reply:?}");
    let status = host.status("a").await;
    assert_eq!(status["runtimeStatus"], "Terminated");
    assert!(status["diagnostics"].is_null(), "{status}");
    assert_eq!(host.post(&restart(false), "").await.status, 202);
    assert_eq!(finish(&host, "a").await, "two");
    assert_eq!(host.send("DELETE", &path("a"), &[], "").await.status, 200);
    assert_eq!(host.get(&path("a")).await.status, 404);
    eventually("the old one is deleted", || async { host.log().contains("component deleted").then_some(()) }).await;
}
