//! Loading: what is refused and how it is said, what is cached.

use super::*;

async fn refusal(function: impl FnOnce(&Fixture) -> DeployedFunction) -> String {
    let fixture = Fixture::new();
    fixture.deploy_one(function(&fixture)).await.unwrap_err().to_string()
}

#[tokio::test]
async fn files_that_are_no_components_are_named_with_a_remedy() {
    let load = |bytes: Vec<u8>| async move {
        refusal(move |fixture| function("Test", FunctionKind::Http, fixture.write("bad.wasm", bytes))).await
    };
    assert!(load(Vec::new()).await.contains("bad.wasm: the file is empty"));
    assert!(load(b"#!/bin/sh".to_vec()).await.contains("no WebAssembly file"));
    let module = load(Core::http("(i32.const 64)").module()).await;
    assert!(module.contains("a core module, where a component is needed") && module.contains("wasm32-wasip2"));
    let mut torn = Core::http("(i32.const 64)").component();
    // Within a section: at the end of one it would be whole.
    torn.truncate(torn.len() / 2 - 1);
    let torn = load(torn).await;
    assert!(torn.contains("malformed WebAssembly"), "{torn}");
    let missing = refusal(|fixture| function("Test", FunctionKind::Http, fixture.folder.path().join("no.wasm"))).await;
    assert!(missing.contains("no.wasm: no such file"), "{missing}");
}

#[tokio::test]
async fn a_component_over_the_limit_is_not_even_read() {
    let fixture = Fixture::with(WasmConfig { component_bytes_max: 10, ..config() });
    let path = fixture.write("big.wasm", [0; 11]);
    let error = fixture.deploy_one(function("Test", FunctionKind::Http, path)).await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { bytes: 11, limit: 10, .. }), "{error}");
    assert!(error.to_string().contains("maxComponentBytes"));
}

#[tokio::test]
async fn an_import_that_no_binding_grants_is_named_with_what_would_grant_it() {
    let client = Core::http("(i32.const 64)").import(
        "soloist:functions/durable-client@1.0.0",
        "management-urls",
        "(param i32 i32 i32)",
    );
    let bytes = client.component();
    let unbound = refusal(|fixture| function("Test", FunctionKind::Http, fixture.write("a.wasm", bytes))).await;
    assert!(unbound.contains("durable-client@1.0.0") && unbound.contains("durableClient"), "{unbound}");
    assert!(unbound.contains("function.json of Test"), "{unbound}");
    for (import, text) in [
        ("soloist:functions/durable-client@1.0.0", "decide and never act"),
        ("wasi:sockets/instance-network@0.2.6", "decide and never act"),
        ("wasi:http/outgoing-handler@0.2.6", "decide and never act"),
    ] {
        let (name, types) = match import.split('@').next() {
            Some("wasi:http/outgoing-handler") => ("handle", "(param i32 i32 i32 i32)"),
            Some("wasi:sockets/instance-network") => ("ping", ""),
            _ => ("management-urls", "(param i32 i32 i32)"),
        };
        let bytes = Core::orchestrator("(i32.const 320)").import(import, name, types).component();
        let refused =
            refusal(|fixture| function("Test", FunctionKind::Orchestrator, fixture.write("o.wasm", bytes))).await;
        assert!(refused.contains(import) && refused.contains(text), "{refused}");
        let bytes = Core::entity("(i32.const 384)").import(import, name, types).component();
        let refused = refusal(|fixture| function("Test", FunctionKind::Entity, fixture.write("e.wasm", bytes))).await;
        assert!(refused.contains(import) && refused.contains(text), "{refused}");
    }
    for import in ["wasi:sockets/instance-network@0.2.6", "acme:secrets/vault@1.0.0"] {
        let bytes = Core::activity("(i32.const 128)").import(import, "ping", "").component();
        let refused = refusal(|fixture| function("Test", FunctionKind::Activity, fixture.write("x.wasm", bytes))).await;
        assert!(refused.contains(import), "{refused}");
    }
}

#[tokio::test]
async fn a_component_without_the_triggers_export_is_refused() {
    let bytes = Core::activity("(i32.const 128)").component();
    let refused = refusal(|fixture| function("Test", FunctionKind::Http, fixture.write("a.wasm", bytes))).await;
    let wanted = "does not export soloist:functions/http-function@1.x nor wasi:http/incoming-handler@0.2, which an httpTrigger needs";
    assert!(refused.contains(wanted), "{refused}");
}

#[tokio::test]
async fn another_contract_is_refused_with_both_versions() {
    let core = Core::default().export("activity@2.0.0", "invoke", "", "");
    let bytes = core.component();
    let refused = refusal(|fixture| function("Test", FunctionKind::Activity, fixture.write("n.wasm", bytes))).await;
    assert!(
        refused.contains("soloist:functions/activity@2.0.0") && refused.contains("soloist:functions@1.x"),
        "{refused}"
    );
}

#[tokio::test]
async fn handlers_are_found_by_any_spelling_and_others_listed() {
    let fixture = Fixture::new();
    let core = Core::activity("(i32.const 128)").holding("activity say_hello\nhttp other\n");
    let path = fixture.write("h.wasm", core.component());
    let activity = |handler: &str| DeployedFunction {
        handler: handler.to_owned(),
        ..function("Test", FunctionKind::Activity, path.clone())
    };
    for spelling in ["say_hello", "SayHello", "say-hello"] {
        fixture.deploy_one(activity(spelling)).await.unwrap();
    }
    let refused = fixture.deploy_one(activity("other")).await.unwrap_err().to_string();
    assert!(
        refused.contains("holds no activity function \"other\"; it holds activity say_hello, http other"),
        "{refused}"
    );
}

#[tokio::test]
async fn one_bad_function_does_not_stop_the_others() {
    let fixture = Fixture::new();
    let good = fixture.write("good.wasm", Core::http("(i32.const 64)").component());
    let bad = fixture.write("bad.wasm", b"");
    let functions = vec![function("Good", FunctionKind::Http, good), function("Bad", FunctionKind::Http, bad)];
    let results = fixture.wasm.deploy(functions).await;
    assert!(results[0].is_ok() && results[1].is_err());
    assert_eq!(fixture.call("Good").await.unwrap().status, 200);
    assert!(matches!(fixture.call("Bad").await, Err(HttpCallError::NotDeployed(_))));
}

#[tokio::test]
async fn compiled_components_are_cached_and_damaged_entries_rebuilt() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().unwrap();
    let cache = data.path().join("cache");
    let host = || Fixture::with(WasmConfig { cache: Some(cache.clone()), ..config() });
    let core = Core::http("(i32.const 64)");
    let entries = || -> Vec<(PathBuf, Vec<u8>)> {
        let paths = std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
        paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    host().deploy(FunctionKind::Http, &core).await;
    assert_eq!(std::fs::metadata(&cache).unwrap().permissions().mode() & 0o777, 0o700);
    let [(path, entry)] = entries().try_into().unwrap();
    let damage = |at: usize| {
        let mut damaged = entry.clone();
        damaged[at] ^= 1;
        damaged
    };
    for damaged in [damage(0), damage(30), damage(entry.len() - 1), entry[..entry.len() / 2].to_vec(), Vec::new()] {
        std::fs::write(&path, damaged).unwrap();
        let fixture = host();
        fixture.deploy(FunctionKind::Http, &core).await;
        assert_eq!(fixture.call("Test").await.unwrap().status, 200);
        let [(_, rebuilt)] = entries().try_into().unwrap();
        assert!(rebuilt.len() == entry.len(), "the entry was written again, and nothing else");
    }
    let fixture = host();
    fixture.deploy(FunctionKind::Http, &core).await;
    assert_eq!(fixture.call("Test").await.unwrap().status, 200, "from the cache");
}

#[tokio::test]
async fn an_orchestration_runs_on_bytes_from_storage_when_its_component_is_not_deployed() {
    let bytes: Arc<[u8]> = Core::orchestrator("(i32.const 320)").component().into();
    let kept = Arc::clone(&bytes);
    let digest = {
        use sha2::Digest as _;
        Digest(sha2::Sha256::digest(&bytes).into())
    };
    let component_bytes: ComponentBytes = Arc::new(move |wanted| {
        let found = (wanted == digest).then(|| Arc::clone(&kept));
        Box::pin(async move { found })
    });
    let fixture = Fixture::with(WasmConfig { component_bytes, ..config() });
    assert!(fixture.guest(digest).await.is_ok());
    let missing = fixture.guest(Digest([7; 32])).await;
    let Err(GuestError::Unavailable(text)) = missing else { panic!("nobody has it") };
    assert!(text.contains("0707") && text.contains("deploy the version"), "{text}");
}
