//! Any `host.json` is read, or refused with a reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use soloist::app::App;

fuzz_target!(|bytes: &[u8]| {
    let app = tempfile::tempdir().expect("a temp folder");
    std::fs::write(app.path().join("host.json"), bytes).expect("a file is written");
    if let Err(error) = App::load(app.path(), []) {
        assert!(error.to_string().contains("host.json") || !error.to_string().is_empty());
    }
});
