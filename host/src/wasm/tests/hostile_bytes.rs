//! Whatever a component's file holds, loading it ends with a component or with a text that names the file.

use proptest::{prelude::*, test_runner::Config as ProptestConfig};

use super::*;

/// Components that load: by hand, and of the published contract.
fn components() -> Vec<Vec<u8>> {
    vec![
        Core::http("(i32.const 64)").component(),
        Core::activity("(i32.const 128)").component(),
        Core::orchestrator("unreachable").component(),
        golden::component(),
    ]
}

/// How a file differs from what was built.
#[derive(Clone, Debug)]
enum Damage {
    Truncated,
    Replaced(u8),
    Inserted(u8),
    Repeated(u8),
}

impl Damage {
    fn to(&self, bytes: &mut Vec<u8>, place: prop::sample::Index) {
        let at = place.index(bytes.len());
        match self {
            Self::Truncated => bytes.truncate(at),
            Self::Replaced(byte) => bytes[at] = *byte,
            Self::Inserted(byte) => bytes.insert(at, *byte),
            Self::Repeated(length) => {
                let piece = bytes[at..bytes.len().min(at + usize::from(*length))].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::Truncated),
        any::<u8>().prop_map(Damage::Replaced),
        any::<u8>().prop_map(Damage::Inserted),
        any::<u8>().prop_map(Damage::Repeated),
    ]
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let components = components();
    let which = 0..components.len();
    (which, prop::collection::vec((damage(), any::<prop::sample::Index>()), 1..4)).prop_map(move |(which, damages)| {
        let mut bytes = components[which].clone();
        for (damage, place) in damages {
            if !bytes.is_empty() {
                damage.to(&mut bytes, place);
            }
        }
        bytes
    })
}

/// Anything, and what begins as a component does.
fn arbitrary() -> impl Strategy<Value = Vec<u8>> {
    let heads = prop_oneof![
        Just(&b""[..]),
        Just(&b"\0asm"[..]),
        Just(&b"\0asm\x0d\0\x01\0"[..]),
        Just(&b"\0asm\x01\0\0\0"[..])
    ];
    (heads, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(head, tail)| [head, &tail].concat())
}

fn is_clear(error: &LoadError) -> bool {
    let text = error.to_string();
    text.contains("bad.wasm") && text.len() > "bad.wasm: ".len() && !text.chars().any(|c| c.is_control() && c != '\n')
}

proptest! {
    #[test]
    fn reading_what_a_file_holds_never_panics(bytes in prop_oneof![arbitrary(), damaged()]) {
        if let Err(error) = inspect::inspect(Path::new("bad.wasm"), &bytes) {
            prop_assert!(is_clear(&error), "{error}");
        }
    }
}

#[test]
fn loading_a_damaged_component_ends_with_a_clear_error_or_a_component() {
    let fixture = Fixture::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // Each compiles what is whole: a few.
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48));
    let outcome = runner.run(&prop_oneof![1 => arbitrary(), 5 => damaged()], |bytes| {
        let file = fixture.write("bad.wasm", &bytes);
        let outcome = runtime.block_on(fixture.deploy_one(function("Test", FunctionKind::Http, file)));
        if let Err(error) = outcome {
            prop_assert!(is_clear(&error), "{error}");
        }
        Ok(())
    });
    outcome.unwrap();
}
