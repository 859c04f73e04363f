//! Any file is a component that loads, or is refused with a reason that names it.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use soloist::{
    durable::FunctionName,
    wasm::{DeployedFunction, FunctionKind, Wasm, WasmConfig},
};
use tokio::runtime::Runtime;

struct Host {
    wasm: Arc<Wasm>,
    runtime: Runtime,
    folder: tempfile::TempDir,
}

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host {
        wasm: Wasm::new(WasmConfig { requests_max: 1, residents_max: 0, ..WasmConfig::default() }).expect("an engine"),
        runtime: Runtime::new().expect("a runtime"),
        folder: tempfile::tempdir().expect("a temp folder"),
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Host { wasm, runtime, folder } = host();
    let component = folder.path().join("fuzzed.wasm");
    std::fs::write(&component, bytes).expect("a file is written");
    let function = DeployedFunction {
        name: FunctionName::new("F"),
        handler: "F".to_owned(),
        kind: FunctionKind::Http,
        component,
        client: None,
    };
    for result in runtime.block_on(wasm.deploy(vec![function])) {
        if let Err(error) = result {
            assert!(error.to_string().contains("fuzzed.wasm"), "{error}");
        }
    }
    // What loads is not kept: another input follows.
    wasm.forget_components_but(&Default::default());
});
