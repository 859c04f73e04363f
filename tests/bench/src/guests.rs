//! Guests without a host around them: the test app's, and one written by hand that does nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use soloist::{
    durable::{Digest, FunctionName},
    wasm::{ClientGrant, DeployedFunction, FunctionKind, Wasm, WasmConfig},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The folder of the test app.
pub fn app() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join("app")
}

/// Builds the test app and returns its component.
///
/// # Errors
/// If it cannot be built.
pub fn build_app() -> Result<PathBuf> {
    let report = soloist::cli::build::build(&app(), &mut |line| eprintln!("{line}"))?;
    ensure!(report.failed.is_empty(), "the test app could not be built");
    let mut components = report.built.into_iter().map(|built| built.component);
    components.find(|file| file.ends_with(COMPONENT)).with_context(|| format!("the test app has no {COMPONENT}"))
}

/// The component of the test app's own crate.
const COMPONENT: &str = "soloist_test_app.wasm";

/// Functions of the test app, deployed.
pub struct TestApp {
    /// What runs them.
    pub wasm: Arc<Wasm>,
    /// The component's digest.
    pub digest: Digest,
}

/// Deploys what the benchmarks call.
///
/// # Errors
/// If a component cannot be loaded.
pub async fn deploy(component: &Path, folder: &Path) -> Result<TestApp> {
    let nothing = folder.join("nothing.wasm");
    std::fs::write(&nothing, nothing_component()?)?;
    let wasm = Wasm::new(WasmConfig::default())?;
    let functions = vec![
        function("Chain", FunctionKind::Orchestrator, component),
        function("HttpEcho", FunctionKind::Http, component),
        function("HttpHello", FunctionKind::Http, component),
        function("ChainStep", FunctionKind::Activity, component),
        function("NothingHttp", FunctionKind::Http, &nothing),
        function("NothingActivity", FunctionKind::Activity, &nothing),
    ];
    let mut deployed = wasm.deploy(functions).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(TestApp { wasm, digest: deployed.remove(0).digest })
}

fn function(name: &str, kind: FunctionKind, component: &Path) -> DeployedFunction {
    DeployedFunction {
        name: FunctionName::new(name),
        handler: name.to_owned(),
        kind,
        component: component.to_owned(),
        // The test app's component imports the client.
        client: kind.ne(&FunctionKind::Orchestrator).then(ClientGrant::default),
    }
}

/// A component whose HTTP function answers 200 without a body and whose activity returns 6: the cost of a guest as such.
fn nothing_component() -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit"))?;
    let package = resolve.push_str(
        "nothing.wit",
        "package bench:nothing;
         world nothing {
             export soloist:functions/http-function@1.0.0;
             export soloist:functions/activity@1.0.0;
         }",
    )?;
    let world = resolve.select_world(&[package], Some("nothing"))?;
    let mut module = wat::parse_str(
        r#"(module
            (memory (export "memory") 2)
            (data (i32.const 64) "\c8\00\00\00")
            (data (i32.const 128) "\00\00\00\00\00\02\00\00\01\00\00\00")
            (data (i32.const 512) "6")
            (global $next (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
                (global.set $next (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func (export "soloist:functions/http-function@1.0.0#handle") (param i32) (result i32) (i32.const 64))
            (func (export "soloist:functions/activity@1.0.0#invoke") (param i32) (result i32) (i32.const 128)))"#,
    )?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().module(&module)?.validate(true).encode()
}
