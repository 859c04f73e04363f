//! `soloist init` and `soloist new`: what they make builds and runs, and is served again when its code changes.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use soloist_tests::{Host, artifacts, eventually, instances::path};

fn soloist(arguments: &[&str], app: &Path) -> Output {
    Command::new(artifacts::soloist()).args(arguments).arg(app).output().expect("the binary can be run")
}

fn succeeds(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn add(app: &Path, kind: &str, name: &str) -> Output {
    soloist(&["new", kind, name, "--app"], app)
}

/// Lets cargo build the app into a folder that outlives the test: what it depends on is compiled once.
fn share_target(app: &Path) {
    let target = artifacts::repository().join("target/new-apps");
    fs::create_dir_all(app.join(".cargo")).unwrap();
    fs::write(app.join(".cargo/config.toml"), format!("[build]\ntarget-dir = {:?}\n", target.display())).unwrap();
}

#[tokio::test]
async fn a_new_app_and_each_kind_of_function_build_run_and_are_served_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("my app");
    let said = succeeds(&soloist(&["init"], &app));
    assert!(said.contains("HttpStart starts HelloCities"), "{said}");
    share_target(&app);
    for kind in ["http", "starter", "orchestration", "activity", "entity", "timer"] {
        succeeds(&add(&app, kind, &format!("My-{kind}")));
    }
    let again = add(&app, "http", "my-HTTP");
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("nothing is overwritten"));
    // Names that are something else in Rust.
    succeeds(&add(&app, "http", "Match"));
    succeeds(&add(&app, "entity", "Option"));
    let schedule = app.join("My-timer/function.json");
    fs::write(&schedule, fs::read_to_string(&schedule).unwrap().replace("0 */5 * * * *", "* * * * * *")).unwrap();
    let built = tokio::task::spawn_blocking({
        let app = app.clone();
        move || soloist(&["build"], &app)
    });
    succeeds(&built.await.unwrap());

    let host = Host::builder().app(&app).watching().building().start().await;
    let printed = host.printed();
    assert!(!printed.contains("excluded:"), "{printed}");
    assert_eq!(host.get("/api/My-http?name=Tokyo").await.text(), "Hello Tokyo!");
    assert_eq!(host.get("/api/match").await.text(), "Hello world!");
    for (route, input) in [("orchestrators/HelloCities", ""), ("My-starter/My-orchestration", "\"tea\"")] {
        let reply = host.post(&format!("/api/{route}"), input).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        let output = host.output(reply.json()["id"].as_str().unwrap()).await;
        let wanted = if input.is_empty() {
            serde_json::json!(["Hello Tokyo!", "Hello Seattle!", "Hello London!"])
        } else {
            "done: tea".into()
        };
        assert_eq!(output, wanted);
    }
    for entity in ["My-entity", "Option"] {
        let entity = format!("/runtime/webhooks/durabletask/entities/{entity}/k");
        assert_eq!(host.post(&format!("{entity}?op=add"), "3").await.status, 202);
        eventually("the signal has come", || async { host.get(&entity).await.text().contains("3").then_some(()) })
            .await;
    }
    assert_eq!(host.post("/admin/functions/My-activity", r#"{"input":"Tokyo"}"#).await.status, 202);
    for said in ["an activity that was run by hand has ended", "due at "] {
        eventually(said, || async { host.log().contains(said).then_some(()) }).await;
    }
    changes(&host, &app).await;
}

/// The app's code changes while it is served.
async fn changes(host: &Host, app: &Path) {
    let code = app.join("My-http/src/lib.rs");
    let text = fs::read_to_string(&code).unwrap();
    // As editors save: a new file takes the old one's place.
    let save = |text: &str| {
        fs::write(app.join("My-http/src/.lib.rs.swp"), text).unwrap();
        fs::rename(app.join("My-http/src/.lib.rs.swp"), &code).unwrap();
    };
    let greets = |greeting: &'static str| async move {
        eventually(&format!("it says {greeting}"), || async {
            (host.get("/api/My-http?name=Tokyo").await.text() == greeting).then_some(())
        })
        .await;
    };
    save(&text.replace("Hello {name}", "Salut {name}"));
    greets("Salut Tokyo!").await;
    save(&text.replace("Hello {name}", "Salut {nobody}"));
    eventually("the host says that it was not built", || async {
        let log = host.log();
        (log.contains("not built: the last component that was built goes on") && log.contains("nobody")).then_some(())
    })
    .await;
    greets("Salut Tokyo!").await;
    save(&text.replace("Hello {name}", "Hola {name}"));
    greets("Hola Tokyo!").await;
    // A crate beside the app is watched from the build on that needs it.
    let words = app.parent().unwrap().join("words");
    fs::create_dir_all(words.join("src")).unwrap();
    fs::write(words.join("Cargo.toml"), "[package]\nname = \"words\"\nedition = \"2024\"\n").unwrap();
    let word = |word: &str| {
        fs::write(words.join("src/lib.rs"), format!("pub const HELLO: &str = {word:?};\n")).unwrap();
    };
    word("Ciao");
    let manifest = fs::read_to_string(app.join("My-http/Cargo.toml")).unwrap();
    let manifest = manifest.replace("[dependencies]\n", "[dependencies]\nwords = { path = \"../../words\" }\n");
    fs::write(app.join("My-http/Cargo.toml"), manifest).unwrap();
    save(&text.replace("Hello {name}!\"", "{} {name}!\", words::HELLO"));
    greets("Ciao Tokyo!").await;
    // It may take a moment until it is watched: cargo is asked first.
    for number in 0.. {
        word(if number % 2 == 0 { "Salve" } else { "Ave" });
        if tokio::time::timeout(Duration::from_secs(60), greets("Salve Tokyo!")).await.is_ok() {
            break;
        }
        assert!(number < 4, "a crate elsewhere is not watched: {}", host.log());
    }
    // A function that is new is built, and then served.
    succeeds(&add(app, "http", "Later"));
    eventually("it is served", || async { (host.get("/api/later").await.status == 200).then_some(()) }).await;
    fs::remove_dir_all(app.join("Later")).unwrap();
    eventually("it is gone", || async { (host.get("/api/later").await.status == 404).then_some(()) }).await;
    eventually("what to do is said", || async { host.log().contains("remove it from members").then_some(()) }).await;
    assert_eq!(host.get(&path("unknown")).await.status, 404);
}

#[test]
fn completions_are_written_for_each_shell() {
    for (shell, wanted) in [
        ("bash", "complete -F _soloist"),
        ("zsh", "#compdef soloist"),
        ("fish", "complete -c soloist"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let output = Command::new(artifacts::soloist()).args(["completions", shell]).output().unwrap();
        let script = succeeds(&output);
        assert!(script.contains(wanted) && script.contains("no-watch"), "{shell}: {script}");
    }
    let refused = Command::new(artifacts::soloist()).args(["completions", "tcsh"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}
