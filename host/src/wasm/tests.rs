//! Guests written by hand, each with one thing wrong, and what the host makes of them.

mod calls;
mod components;
mod entities;
mod golden;
mod hostile_bytes;
mod loading;

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::*;
use crate::durable::{ExecutionId, InstanceId};
use components::Core;

/// A host with few slots and tight limits, and a folder for components.
struct Fixture {
    wasm: Arc<Wasm>,
    folder: tempfile::TempDir,
}

fn config() -> WasmConfig {
    WasmConfig {
        cpu_limit: Duration::from_millis(50),
        memory_bytes_max: 4 << 20,
        response_bytes_max: 1 << 20,
        requests_max: 2,
        request_wait: Duration::from_millis(20),
        activities_max: 2,
        turns_max: 2,
        residents_max: 2,
        ..WasmConfig::default()
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: WasmConfig) -> Self {
        Self { wasm: Wasm::new(config).unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes a guest of an orchestrator.
    async fn guest(&self, component: Digest) -> Result<Box<dyn OrchestratorGuest>, GuestError> {
        let call = OrchestratorCall {
            component,
            handler: "Test".into(),
            name: "Test".into(),
            instance_id: InstanceId::parse("i").unwrap(),
            execution_id: ExecutionId("e".into()),
        };
        self.wasm.orchestrator(call, self.wasm.slot().await).await
    }

    async fn deploy_one(&self, function: DeployedFunction) -> Result<DeployedComponent, LoadError> {
        self.wasm.deploy(vec![function]).await.remove(0)
    }

    /// Deploys a component's one function of a kind, called `Test`.
    async fn deploy(&self, kind: FunctionKind, core: &Core) -> DeployedComponent {
        let path = self.write("test.wasm", core.component());
        self.deploy_one(function("Test", kind, path)).await.unwrap()
    }

    async fn call(&self, name: &str) -> Result<HttpReply, HttpCallError> {
        let request =
            HttpRequest { method: "GET".into(), url: "http://localhost/api/test".into(), ..HttpRequest::default() };
        let urls: ManagementUrlsFor =
            Arc::new(|id, _| ManagementUrls { id: id.to_owned(), ..ManagementUrls::default() });
        let call =
            HttpCall { function: FunctionName::new(name), invocation_id: "inv".into(), request, urls: Some(urls) };
        self.wasm.call_http(call).await
    }

    /// Calls an HTTP function that must fail, and returns how.
    async fn failure(&self, core: &Core) -> Failure {
        self.deploy(FunctionKind::Http, core).await;
        match self.call("Test").await {
            Err(HttpCallError::Guest(failure)) => failure,
            other => panic!("expected a failure, got {other:?}"),
        }
    }
}

fn function(name: &str, kind: FunctionKind, component: PathBuf) -> DeployedFunction {
    DeployedFunction { name: FunctionName::new(name), handler: name.to_owned(), kind, component, client: None }
}

fn activity_call(name: &str) -> ActivityCall {
    ActivityCall {
        name: FunctionName::new(name),
        input: Json::null(),
        instance_id: InstanceId::parse("i").unwrap(),
        execution_id: ExecutionId("e".into()),
        sequence: 0,
        attempt: 1,
        deadline: None,
        tags: Vec::new(),
        trace_context: None,
    }
}
