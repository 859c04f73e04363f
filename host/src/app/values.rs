//! The values of `host.json` as the file has them, to tell which have changed.

use std::{collections::BTreeMap, path::Path};

use super::diagnostic::Code;
use super::json::{Document, Node, Value};

/// Every value in the app's `host.json`, as JSON, by its path: `extensions.http.routePrefix`. Empty if the file cannot be read.
pub fn host_json_values(root: &Path) -> BTreeMap<String, String> {
    let file = root.join("host.json");
    let mut values = BTreeMap::new();
    let document = std::fs::read(&file).ok().and_then(|bytes| Document::parse(&file, bytes, Code::HostJsonSyntax).ok());
    if let Some(root) = document.as_ref().and_then(Document::root) {
        collect(root, String::new(), &mut values);
    }
    values
}

fn collect(node: &Node, path: String, values: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match node.value() {
        Value::Object(properties) => {
            for property in properties {
                collect(&property.node, below(&property.name), values);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                collect(item, below(&at.to_string()), values);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            values.insert(path, node.to_json());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_path() {
        let app = tempfile::tempdir().expect("temp folder");
        assert!(host_json_values(app.path()).is_empty());
        let text = r#"{ "version": "2.0", /* kept short */ "a": { "b": 1, "c": [true, "x"] } }"#;
        std::fs::write(app.path().join("host.json"), text).expect("write");
        let values = host_json_values(app.path());
        let wanted = [("a.b", "1"), ("a.c.0", "true"), ("a.c.1", "\"x\""), ("version", "\"2.0\"")];
        assert_eq!(values, wanted.map(|(path, value)| (path.to_owned(), value.to_owned())).into());
    }
}
