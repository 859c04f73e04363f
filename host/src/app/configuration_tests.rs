//! The page of the configuration has every key, and nothing else.

use super::*;

/// What the page has between two lines of a name.
fn part(name: &str) -> String {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (_, rest) = page.split_once(begin.as_str()).unwrap_or_else(|| panic!("{begin} is missing"));
    rest.split_once(end.as_str()).unwrap_or_else(|| panic!("{end} is missing")).0.trim().to_owned()
}

fn table(head: [&str; 4], rows: impl Iterator<Item = [String; 4]>) -> String {
    let columns = head.iter().position(|title| title.is_empty()).unwrap_or(4);
    let line = |cells: &[String]| format!("| {} |\n", cells[..columns].join(" | "));
    let mut table = line(&head.map(str::to_owned)) + &format!("|{}\n", "---|".repeat(columns));
    // A bar would end the cell.
    rows.for_each(|row| table.push_str(&line(&row.map(|cell| cell.replace('|', "\\|")))));
    table.trim().to_owned()
}

fn check(name: &str, wanted: &str) {
    assert!(part(name) == wanted, "docs/configuration.md must have at {name}:\n\n{wanted}\n");
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn holds(kind: Kind) -> String {
    match kind {
        Kind::Pattern(pattern) => format!("a text that matches `{pattern}`"),
        Kind::OneOf(texts) => texts.iter().map(|text| code(text)).collect::<Vec<_>>().join(", "),
        kind => kind.text(),
    }
}

#[test]
fn the_page_has_every_key_of_host_json() {
    for (name, section) in [
        ("top", ""),
        ("http", "extensions.http"),
        ("durableTask", "extensions.durableTask"),
        ("soloist", "extensions.soloist"),
    ] {
        let keys = KEYS.iter().filter(|key| key.has_effect());
        let own = keys.filter_map(|key| {
            let inner = match section {
                "" if key.path.starts_with("extensions.") => return None,
                "" => key.path,
                section => key.path.strip_prefix(section)?.strip_prefix('.')?,
            };
            let default = match (default_text(key), key.default) {
                (text, None) if text != "none" => code(&text),
                (text, _) => text,
            };
            Some([code(inner), holds(key.kind), default, key.meaning.to_owned()])
        });
        check(name, &table(["key", "holds", "default", "means"], own));
    }
}

#[test]
fn the_page_has_every_key_without_effect() {
    let keys = KEYS.iter().filter(|key| key.kind == Kind::NotApplicable);
    let rows = keys.map(|key| [code(key.path), key.meaning.to_owned(), String::new(), String::new()]);
    check("without effect", &table(["key", "instead", "", ""], rows));
}

#[test]
fn the_page_has_every_key_of_function_json() {
    let row = |key: &FunctionKey| [code(key.name), holds(key.kind), key.meaning.to_owned(), String::new()];
    let head = ["key", "holds", "means", ""];
    let top = FUNCTION_KEYS.iter().map(|key| match key.name {
        "bindings" => [code(key.name), "a list of objects".into(), key.meaning.into(), String::new()],
        "disabled" => [code(key.name), "true or false, or a text".into(), key.meaning.into(), String::new()],
        _ => row(key),
    });
    check("function.json", &table(head, top));
    check("retry", &table(head, RETRY_KEYS.iter().map(row)));
    check("binding", &table(head, BINDING_KEYS.iter().map(row)));
    let kinds = BINDING_TYPES.iter().flat_map(|kind| {
        let names = kind.names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ");
        let own = kind.keys.iter().map(|key| [String::new(), code(key.name), holds(key.kind), key.meaning.to_owned()]);
        std::iter::once([names, String::new(), format!("`{}`", kind.direction), kind.meaning.to_owned()]).chain(own)
    });
    check("types", &table(["type", "key", "holds", "means"], kinds));
}
