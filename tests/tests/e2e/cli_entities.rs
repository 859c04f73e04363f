//! `soloist entities`: list, show, signal, delete.

use serde_json::{Value, json};
use soloist_tests::{Host, HostBuilder, eventually};

use crate::cli::{on, with_and_without_keys};

with_and_without_keys!(entities_are_signaled_shown_listed_and_deleted, lists_of_entities_go_on_over_pages,);

async fn wait_for_state(host: &Host, key: &str, wanted: Option<&str>) {
    eventually(&format!("the state of {key:?} is {wanted:?}"), || async {
        let said = on(host, &["entities", "show", "Counter", key]);
        let state = (said.code == 0).then(|| said.out.trim_end().to_owned());
        (state.as_deref() == wanted).then_some(())
    })
    .await;
}

async fn entities_are_signaled_shown_listed_and_deleted(host: HostBuilder) {
    let host = host.start().await;
    on(&host, &["entities", "show", "Counter", "a"]).with(3);
    let sent = on(&host, &["entities", "signal", "Counter", "a", "add", "--input", "5"]).with(0);
    assert_eq!(sent.out, "sent add to @Counter@a\n");
    for key in ["", "100% 🎉", "b", "\u{202e}"] {
        on(&host, &["entities", "signal", "Counter", key, "add", "--input", "1"]).with(0);
        wait_for_state(&host, key, Some("1")).await;
    }
    wait_for_state(&host, "a", Some("5")).await;
    assert_eq!(on(&host, &["entities", "show", "@counter@a", "--format", "json"]).with(0).json(), 5);
    on(&host, &["entities", "show", "counter"]).with(2);

    let list = on(&host, &["entities", "list", "--name", "Counter", "--state", "--format", "json"]).with(0).json();
    let found: Vec<&Value> = list.as_array().unwrap().iter().map(|entity| &entity["entityId"]["key"]).collect();
    assert_eq!(found.len(), 5, "{list}");
    assert!(found.contains(&&json!("100% 🎉")) && found.contains(&&json!("")), "{list}");
    let text = on(&host, &["entities", "list", "--state"]).with(0);
    assert!(text.line(" a ").starts_with("counter a 2") && text.line(" a ").ends_with(" 5"), "{text:?}");
    assert!(text.out.contains("\\u202e"), "{text:?}");
    let two = on(&host, &["entities", "list", "--top", "2"]).with(0);
    assert!(two.out.lines().count() == 3 && two.err.contains("--all"), "{two:?}");
    let old = on(&host, &["entities", "list", "--used-before", "1h"]).with(0);
    assert_eq!((old.out.as_str(), old.err.as_str()), ("", "no entities\n"));

    let deleted = on(&host, &["entities", "delete", "@counter@a", "--format", "json"]).with(0).json();
    assert_eq!(deleted, json!({ "entityId": { "name": "counter", "key": "a" }, "operation": "delete" }));
    wait_for_state(&host, "a", None).await;
    let unknown = on(&host, &["entities", "signal", "Nobody", "a", "add", "--format", "json"]);
    assert!(matches!(unknown.code, 2 | 3), "{unknown:?}");
    let bad = on(&host, &["entities", "signal", "Counter", "a", "add", "--input", "five"]).with(2);
    assert!(bad.err.contains("line 1 column 2") && bad.err.contains("'\"five\"'"), "{bad:?}");
}

async fn lists_of_entities_go_on_over_pages(host: HostBuilder) {
    let host = host.start().await;
    for number in 0..130 {
        let target = format!("/runtime/webhooks/durabletask/entities/Counter/k{number:03}?op=add");
        assert_eq!(host.post(&target, "1").await.status, 202);
    }
    eventually("all are there", || async {
        let list = on(&host, &["entities", "list", "--all", "--format", "json"]).with(0).json();
        (list.as_array().unwrap().len() == 130).then_some(())
    })
    .await;
    let list = on(&host, &["entities", "list", "--top", "120", "--format", "json"]).with(0).json();
    assert_eq!(list.as_array().unwrap().len(), 120);
}
