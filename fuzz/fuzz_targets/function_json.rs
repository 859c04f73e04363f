//! Any `function.json` is a function's, or the function is excluded with a reason.
#![no_main]

use std::{fs, path::Path};

use libfuzzer_sys::fuzz_target;
use soloist::app::App;

fuzz_target!(|bytes: &[u8]| {
    let app = tempfile::tempdir().expect("a temp folder");
    let write = |path: &Path, bytes: &[u8]| fs::write(app.path().join(path), bytes).expect("a file is written");
    fs::create_dir(app.path().join("F")).expect("a folder is made");
    write(Path::new("host.json"), b"{}");
    write(Path::new("F/function.wasm"), b"");
    write(Path::new("F/function.json"), bytes);
    let loaded = App::load(app.path(), []).expect("a function cannot keep the app from being loaded");
    assert_eq!(loaded.functions.len() + loaded.excluded.len(), 1);
    for excluded in loaded.excluded {
        assert!(!excluded.reason.is_empty());
    }
});
