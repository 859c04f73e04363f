//! A route template and a path, separated by a line's end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use soloist::app::RouteTemplate;

fuzz_target!(|text: &str| {
    let (template, path) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(template) = RouteTemplate::parse(template) else { return };
    let again = RouteTemplate::parse(template.as_str()).expect("what was read is a template");
    assert_eq!(again, template);
    let params = template.matches_path(path);
    let names: Vec<&str> = template.parameters().collect();
    for (name, _) in params.into_iter().flatten() {
        assert!(names.contains(&name.as_str()), "{name}");
    }
    for described in template.api_paths() {
        assert!(described.parameters.len() <= names.len());
    }
});
