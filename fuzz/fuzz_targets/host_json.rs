//! Any `host.json` is read, or refused with a reason.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use soloist::app::App;

fuzz_target!(|bytes: &[u8]| {
    static APP: OnceLock<tempfile::TempDir> = OnceLock::new();
    let app = APP.get_or_init(|| tempfile::tempdir().expect("a temp folder"));
    std::fs::write(app.path().join("host.json"), bytes).expect("a file is written");
    if let Err(error) = App::load(app.path(), []) {
        assert!(error.report.first_error().is_some() && !error.to_string().is_empty());
    }
});
