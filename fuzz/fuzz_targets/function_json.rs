//! Any `function.json` is a function's, or the function is excluded with a reason.
#![no_main]

use std::{fs, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use soloist::app::App;

/// An app with one function, whose `function.json` is written anew for each input.
fn app() -> &'static tempfile::TempDir {
    static APP: OnceLock<tempfile::TempDir> = OnceLock::new();
    APP.get_or_init(|| {
        let app = tempfile::tempdir().expect("a temp folder");
        fs::create_dir(app.path().join("F")).expect("a folder is made");
        fs::write(app.path().join("host.json"), "{}").expect("a file is written");
        fs::write(app.path().join("F/function.wasm"), "").expect("a file is written");
        app
    })
}

fuzz_target!(|bytes: &[u8]| {
    let app = app();
    fs::write(app.path().join("F/function.json"), bytes).expect("a file is written");
    let loaded = App::load(app.path(), []).expect("a function cannot keep the app from being loaded");
    assert_eq!(loaded.functions.len() + loaded.excluded.len(), 1);
    for excluded in loaded.excluded {
        assert!(!excluded.reason.is_empty());
    }
});
