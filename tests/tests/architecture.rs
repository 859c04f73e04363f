//! Who may import whom, as docs/architecture.md draws it: checked on the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What each module of the host may import. Those that are not listed know everyone.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("server", &["hub", "wasm", "app", "durable", "storage::StorageError"]),
    ("wasm", &["hub", "app", "durable", "flight", "memory"]),
    ("hub", &["durable", "storage", "ambient", "flight"]),
    ("flight", &["durable"]),
    ("storage", &["durable"]),
    ("app", &["durable"]),
    // A point in time is the core's word.
    ("ambient", &["durable::Timestamp"]),
    ("memory", &[]),
    ("telemetry", &[]),
    ("planted", &[]),
    ("durable", &[]),
];

/// Those that put everything together.
const KNOW_EVERYONE: &[&str] = &["host", "cli", "lib", "main"];

fn sources(folder: &Path, found: &mut Vec<(String, String)>, root: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found, root);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push((name, code_of(&fs::read_to_string(&path).unwrap())));
        }
    }
}

/// The product's own code: without comments, and without the tests that follow it in the file.
fn code_of(text: &str) -> String {
    let code = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    code.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn host_sources() -> Vec<(String, String)> {
    let root = soloist_tests::artifacts::repository().join("host/src");
    let mut found = Vec::new();
    sources(&root, &mut found, &root);
    found.retain(|(name, _)| !name.ends_with("/tests.rs") && !name.contains("/tests/"));
    found
}

fn module_of(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

/// The paths below `crate::` that a source names, two segments deep.
fn imports(code: &str) -> BTreeSet<String> {
    let mut imports = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        // `$crate::…`, `pub(in crate::…)` and the like name paths as well; only whole words count.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        match rest.strip_prefix('{') {
            Some(group) => imports.extend(leaves(group).into_iter().flat_map(|path| expand(&path))),
            None => imports.extend(expand(&first_path(rest))),
        }
    }
    imports
}

/// The comma-separated paths of a group, up to its closing brace.
fn leaves(group: &str) -> Vec<String> {
    let (mut depth, mut paths) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => paths.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                paths.last_mut().unwrap().push(c);
            }
        }
    }
    paths.iter().map(|path| path.split_whitespace().collect::<String>()).filter(|path| !path.is_empty()).collect()
}

/// The path at the beginning of a text, with its group if it ends in one.
fn first_path(text: &str) -> String {
    let end = text.find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':')).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    match rest.strip_prefix('{') {
        Some(group) if path.ends_with("::") => format!("{path}{{{}}}", leaves(group).join(",")),
        _ => path.trim_end_matches(':').to_owned(),
    }
}

/// `a::{b, c::d}` as `a::b` and `a::c`.
fn expand(path: &str) -> Vec<String> {
    let (module, rest) = path.split_once("::").unwrap_or((path, ""));
    let items = match rest.strip_prefix('{') {
        Some(group) => leaves(group),
        None => vec![rest.to_owned()],
    };
    let first = |item: &String| item.split("::").next().unwrap().trim().to_owned();
    items
        .iter()
        .map(first)
        .map(|item| if item.is_empty() { module.into() } else { format!("{module}::{item}") })
        .collect()
}

#[test]
fn modules_import_only_what_the_architecture_allows() {
    let rules: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for (file, code) in host_sources() {
        let module = module_of(&file).to_owned();
        if KNOW_EVERYONE.contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = rules.get(module.as_str()) else {
            panic!("{file}: say in this test what {module} may import")
        };
        for import in imports(&code) {
            let imported = import.split("::").next().unwrap();
            seen.insert((module.clone(), imported.to_owned()));
            if imported != module && !allowed.contains(&imported) && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{file} imports crate::{import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (module, imported) in [("server", "hub"), ("wasm", "hub"), ("hub", "storage"), ("storage", "durable")] {
        assert!(seen.contains(&(module.into(), imported.into())), "imports are read: {seen:?}");
    }
}

#[test]
fn each_outside_world_has_one_home() {
    for (file, code) in host_sources() {
        // The log's default directives name other crates, as text.
        let code: String = code.lines().filter(|line| module_of(&file) != "telemetry" || !line.contains('"')).collect();
        for (name, home) in [("wasmtime", "wasm"), ("rusqlite", "storage"), ("TcpListener", "server")] {
            assert!(module_of(&file) == home || !code.contains(name), "{file} names {name}");
        }
    }
}

#[test]
fn groups_of_imports_are_read() {
    let code = "use crate::{\n    ambient::{Ambient, System},\n    app,\n    hub::client::X,\n};\nlet x = crate::wasm::f();\nuse crate::storage::{A, b::{C}};";
    let wanted = ["ambient::Ambient", "ambient::System", "app", "hub::client", "storage::A", "storage::b", "wasm::f"];
    assert_eq!(imports(code).into_iter().collect::<Vec<_>>(), wanted);
}
