//! The app as the admin pages need it: what is deployed, and running a function without its trigger.

use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;
use tracing::{info, warn};

use crate::{
    ambient::{Ambient as _, System},
    app::{App, Excluded, Function, Trigger},
    durable::{ExecutionId, FunctionName, InstanceId, Json},
    hub::{ActivityCall, Executor as _, Hub, StartNew, TimerCall},
    server::{AppAdmin, FunctionInfo, HttpFunctionInfo, InvokeError},
    wasm::Wasm,
};

/// The server's port to the app.
pub(super) struct AppPages {
    deployed: RwLock<Deployed>,
    wasm: Arc<Wasm>,
    hub: Arc<Hub>,
}

/// What is deployed.
#[derive(Clone)]
struct Deployed {
    infos: Arc<[FunctionInfo]>,
    errors: Arc<[String]>,
    /// Those that are served.
    functions: Arc<[Function]>,
    route_prefix: String,
}

impl Deployed {
    fn new(app: &App, served: &[Function], excluded: &[Excluded]) -> Self {
        Self {
            infos: app.functions.iter().map(|function| info_of(app, function)).collect(),
            // Without the file: whoever has the master key need not know this machine's paths.
            errors: excluded.iter().map(|excluded| format!("{}: {}", excluded.function, excluded.text())).collect(),
            functions: served.into(),
            route_prefix: app.host_json.http.route_prefix.clone(),
        }
    }
}

impl AppPages {
    pub(super) fn new(app: &App, served: &[Function], excluded: &[Excluded], wasm: Arc<Wasm>, hub: Arc<Hub>) -> Self {
        Self { deployed: RwLock::new(Deployed::new(app, served, excluded)), wasm, hub }
    }

    /// Shows another app from here on.
    pub(super) fn replace(&self, app: &App, served: &[Function], excluded: &[Excluded]) {
        let deployed = Deployed::new(app, served, excluded);
        *self.deployed.write().unwrap_or_else(PoisonError::into_inner) = deployed;
    }

    fn deployed(&self) -> Deployed {
        self.deployed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn run_activity(&self, name: &str, input: Json) {
        let wasm = self.wasm.clone();
        let run = System.fresh_id();
        let call = ActivityCall {
            name: FunctionName::new(name),
            input,
            instance_id: InstanceId::from_stored(&run),
            execution_id: ExecutionId(run.into()),
            sequence: 0,
            attempt: 1,
            deadline: None,
            tags: vec![],
            trace_context: None,
        };
        tokio::spawn(async move {
            let (name, instance_id) = (call.name.clone(), call.instance_id.clone());
            match wasm.activity(call).await {
                Ok(_) => info!(function = %name, %instance_id, "an activity that was run by hand has ended"),
                Err(failure) => {
                    warn!(function = %name, %instance_id, kind = %failure.kind, "an activity that was run by hand failed")
                }
            }
        });
    }

    fn fire(&self, name: &str) {
        let wasm = self.wasm.clone();
        let call = TimerCall {
            name: FunctionName::new(name),
            invocation_id: System.fresh_id(),
            scheduled: System.now(),
            is_past_due: false,
            adjust_for_dst: false,
            status: None,
        };
        tokio::spawn(async move {
            let name = call.name.clone();
            match wasm.timer(call).await {
                Ok(()) => info!(function = %name, "a timer function that was run by hand has ended"),
                Err(failure) => {
                    warn!(function = %name, kind = %failure.kind, "a timer function that was run by hand failed")
                }
            }
        });
    }
}

impl AppAdmin for AppPages {
    fn functions(&self) -> Arc<[FunctionInfo]> {
        self.deployed().infos
    }

    fn http_functions(&self) -> Vec<HttpFunctionInfo> {
        let Deployed { functions, route_prefix, .. } = self.deployed();
        let info = |function: &Function| {
            let http = function.http()?;
            let mut paths = http.route.api_paths();
            paths.iter_mut().for_each(|path| path.below(&route_prefix));
            Some(HttpFunctionInfo {
                name: function.name.clone(),
                paths,
                methods: http.methods.clone(),
                auth_level: http.auth_level,
            })
        };
        functions.iter().filter_map(info).collect()
    }

    fn errors(&self) -> Arc<[String]> {
        self.deployed().errors
    }

    fn invoke<'a>(&'a self, function: &'a str, input: Json) -> BoxFuture<'a, Result<(), InvokeError>> {
        Box::pin(async move {
            let functions = self.deployed().functions;
            let found = functions.iter().find(|served| served.name.eq_ignore_ascii_case(function));
            let found = found.ok_or(InvokeError::NotFound)?;
            match &found.trigger {
                Trigger::Activity { name } => {
                    self.run_activity(name, input);
                    Ok(())
                }
                Trigger::Timer(_) => {
                    self.fire(&found.name);
                    Ok(())
                }
                Trigger::Orchestration { name } => {
                    let start = StartNew {
                        name: FunctionName::new(name),
                        instance_id: None,
                        input,
                        policy: None,
                        version: None,
                        scheduled_start: None,
                        tags: vec![],
                        trace_context: None,
                    };
                    self.hub.start_new(start).await?;
                    Ok(())
                }
                Trigger::Http(_) => Err(InvokeError::NotInvocable(format!(
                    "The function '{}' is an HTTP function: send a request to its route.",
                    found.name
                ))),
                Trigger::Entity { .. } => Err(InvokeError::NotInvocable(format!(
                    "The function '{}' is an entity: send it a signal by the management API.",
                    found.name
                ))),
            }
        })
    }
}

fn info_of(app: &App, function: &Function) -> FunctionInfo {
    let script = function.script.strip_prefix(&app.root).unwrap_or(&function.script);
    let config = function.config_json().and_then(|text| Json::parse(text).ok()).unwrap_or_else(Json::null);
    FunctionInfo {
        name: function.name.clone(),
        script: script.to_string_lossy().into_owned(),
        route: super::route_of(function, &app.host_json),
        is_disabled: function.disabled,
        config,
    }
}
