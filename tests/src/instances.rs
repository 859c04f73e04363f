//! What tests ask of instances, over HTTP.

use serde_json::Value;

use crate::{Client, Reply, eventually};

/// The management API's path.
pub const MANAGEMENT: &str = "/runtime/webhooks/durabletask";

/// An instance's path in the management API. The id must need no escaping.
pub fn path(id: &str) -> String {
    format!("{MANAGEMENT}/instances/{id}")
}

/// Whether a runtime status is final.
pub fn is_final(status: &Value) -> bool {
    matches!(status["runtimeStatus"].as_str(), Some("Completed" | "Failed" | "Terminated" | "Canceled"))
}

impl Client {
    /// Starts an orchestration with an id, through the test app's starter.
    ///
    /// # Panics
    /// If it is not accepted.
    pub async fn start(&self, function: &str, id: &str, input: &str) -> Reply {
        let reply = self.post(&format!("/api/orchestrators/{function}/{id}"), input.to_owned()).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply
    }

    /// Reads an instance's status, with its input.
    ///
    /// # Panics
    /// If there is no such instance.
    pub async fn status(&self, id: &str) -> Value {
        let reply = self.get(&path(id)).await;
        assert!(matches!(reply.status, 200 | 202), "{id}: {reply:?}");
        reply.json()
    }

    /// Reads the history of an instance, with inputs and outputs.
    ///
    /// # Panics
    /// If there is no such instance.
    pub async fn history(&self, id: &str) -> Vec<Value> {
        let reply = self.get(&format!("{}?showHistory=true&showHistoryOutput=true", path(id))).await;
        reply.json()["historyEvents"].as_array().unwrap_or_else(|| panic!("{id}: {reply:?}")).clone()
    }

    /// Reads everything that is recorded of an instance, with the times at which attempts and polls are due.
    ///
    /// # Panics
    /// If there is no such instance.
    pub async fn raw_history(&self, id: &str) -> Vec<Value> {
        let reply = self.get(&format!("{}?showRawHistory=true", path(id))).await;
        reply.json()["historyEvents"].as_array().unwrap_or_else(|| panic!("{id}: {reply:?}")).clone()
    }

    /// How many events its history shows: none before its first turn.
    pub async fn history_len(&self, id: &str) -> usize {
        let reply = self.get(&format!("{}?showHistory=true", path(id))).await;
        reply.json()["historyEvents"].as_array().map_or(0, Vec::len)
    }

    /// Waits until an instance has this status.
    ///
    /// # Panics
    /// If it ends with another, or does not get there in time.
    pub async fn wait_for_status(&self, id: &str, wanted: &str) -> Value {
        eventually(&format!("instance {id} becomes {wanted}"), || async {
            let status = self.status(id).await;
            if status["runtimeStatus"] == wanted {
                return Ok(status);
            }
            assert!(!is_final(&status), "instance {id} should become {wanted}: {status}");
            Err(status.to_string())
        })
        .await
    }

    /// Waits until the first turn of an instance; returns its status, which may be final.
    ///
    /// # Panics
    /// If it does not begin in time.
    pub async fn wait_for_begin(&self, id: &str) -> Value {
        eventually(&format!("instance {id} begins"), || async {
            let status = self.status(id).await;
            if status["runtimeStatus"] == "Pending" { Err(status.to_string()) } else { Ok(status) }
        })
        .await
    }

    /// Waits until an instance has completed; returns its output.
    ///
    /// # Panics
    /// If it ends otherwise, or not in time.
    pub async fn output(&self, id: &str) -> Value {
        self.wait_for_status(id, "Completed").await["output"].clone()
    }

    /// Raises an event.
    pub async fn raise(&self, id: &str, event: &str, payload: &str) -> Reply {
        self.post(&format!("{}/raiseEvent/{event}", path(id)), payload.to_owned()).await
    }

    /// Lists every instance whose id begins so, over all pages.
    ///
    /// # Panics
    /// If a page is not answered.
    pub async fn list(&self, prefix: &str) -> Vec<Value> {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let target = format!("{MANAGEMENT}/instances?instanceIdPrefix={prefix}&top=500");
            let reply = self.send("GET", &target, &[("x-ms-continuation-token", &token)], "").await;
            assert_eq!(reply.status, 200, "{reply:?}");
            all.extend(reply.json().as_array().expect("a list").iter().cloned());
            token = reply.header("x-ms-continuation-token").to_owned();
            if token.is_empty() {
                return all;
            }
        }
    }
}
