use std::collections::BTreeSet;

use http::Method;

use super::*;
use crate::server::{
    admin::page::Page,
    links::{MANAGEMENT_PATH, V1_MANAGEMENT_PATH},
    management::is_operation,
};

/// Stands for whatever a parameter holds.
const ANY: &str = "x1";

const ASKED: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// Method and path, parameters filled in, of everything in the document that is below a base; without the base.
fn documented(base: &str) -> BTreeSet<(String, String)> {
    let document = document(&[], true);
    let mut all = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(tail) = path.strip_prefix(base) else { continue };
        let tail: Vec<&str> = tail.split('/').map(|part| if part.starts_with('{') { ANY } else { part }).collect();
        for method in item.as_object().unwrap().keys() {
            all.insert((method.to_ascii_uppercase(), tail.join("/")));
        }
    }
    all
}

/// Every word that stands in quotation marks in a source: whatever literal a path can hold is among them.
fn words(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let quoted = code.split('"').skip(1).step_by(2);
    let is_word = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    quoted.filter(is_word).map(str::to_owned).collect()
}

/// Compares what is documented below a base with what a router takes there, in both directions: over every path of up to
/// four segments of the words that the router knows, and a word that it does not.
fn compare(base: &str, mut vocabulary: BTreeSet<String>, takes: impl Fn(&Method, &str) -> bool) {
    let mut documented = documented(base);
    // Below `/admin`, and compared by itself.
    documented.retain(|(_, path)| !path.starts_with("/extensions/"));
    assert!(!documented.is_empty());
    vocabulary.insert(ANY.to_owned());
    let (mut paths, mut level) = (vec![String::new()], vec![String::new()]);
    for _ in 0..4 {
        level = level.iter().flat_map(|path| vocabulary.iter().map(move |word| format!("{path}/{word}"))).collect();
        // A path below one that nobody takes anything below of is the same with every word.
        level.retain(|path| path.split('/').skip(1).take(1).any(|first| first != ANY));
        paths.extend(level.iter().cloned());
    }
    paths.extend(level.iter().map(|path| format!("{path}/{ANY}")));
    let canonical = |path: &str| {
        let is_known = |word: &str| documented.iter().any(|(_, known)| known.split('/').any(|part| part == word));
        let parts: Vec<&str> =
            path.split('/').map(|part| if part.is_empty() || is_known(part) { part } else { ANY }).collect();
        parts.join("/")
    };
    let matches = |method: &Method, path: &str| {
        documented.iter().any(|(known_method, known)| {
            let (parts, known): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), known.split('/').collect());
            known_method == method.as_str()
                && parts.len() == known.len()
                && parts.iter().zip(&known).all(|(part, known)| *known == ANY || part.eq_ignore_ascii_case(known))
        })
    };
    let mut looked_at = BTreeSet::new();
    for path in paths {
        let path = canonical(&path);
        if !looked_at.insert(path.clone()) {
            continue;
        }
        for method in &ASKED {
            assert_eq!(takes(method, &path), matches(method, &path), "{method} {base}{path}: router, document");
        }
    }
    for (method, path) in &documented {
        assert!(looked_at.contains(&canonical(path)), "{method} {base}{path} was not looked at");
    }
}

#[test]
fn the_management_api_is_documented_as_it_is_routed() {
    for base in [MANAGEMENT_PATH, V1_MANAGEMENT_PATH] {
        compare(base, words(include_str!("../management/operation.rs")), is_operation);
    }
}

#[test]
fn the_admin_pages_are_documented_as_they_are_routed() {
    let mut words = words(include_str!("../admin/page.rs"));
    // The router's own.
    words.insert("durableClient".to_owned());
    compare("/admin", words, |method, path| {
        let starter = method == Method::GET && path.eq_ignore_ascii_case("/host/durableClient");
        starter || Page::parse(method, path).is_some()
    });
}

#[test]
fn ids_are_unique_references_lead_somewhere_and_parameters_are_those_of_the_path() {
    let document = document(&[], true);
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{method} {path}");
            let parameters = operation["parameters"].as_array().unwrap();
            let named: BTreeSet<&str> =
                parameters.iter().filter(|one| one["in"] == "path").map(|one| one["name"].as_str().unwrap()).collect();
            assert_eq!(named, names_in(path).collect(), "{method} {path}");
        }
    }
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
                }
                members.values().for_each(|member| check(member, document));
            }
            Value::Array(items) => items.iter().for_each(|item| check(item, document)),
            _ => {}
        }
    }
    check(&document, &document);
}

#[test]
fn functions_are_described_by_their_routes() {
    let function = |name: &str, route: &str, methods: &[&str], auth_level| HttpFunctionInfo {
        name: name.to_owned(),
        paths: crate::app::RouteTemplate::parse(route).unwrap().api_paths(),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        auth_level,
    };
    let functions = [
        function("Order", "api/orders/{id:int}/{part?}", &["GET", "POST"], AuthLevel::Function),
        function("Other", "api/orders/{name}", &["GET"], AuthLevel::Anonymous),
        function("Cancel", "api/orders/{order}", &["DELETE"], AuthLevel::Anonymous),
        function("Front", "", &["GET"], AuthLevel::Anonymous),
        function("Open", "api/open", &[], AuthLevel::Anonymous),
    ];
    let document = document(&functions, true);
    let order = &document["paths"]["/api/orders/{id}"];
    assert_eq!(order["get"]["operationId"], "Order-get-1");
    let schema = &order["get"]["parameters"][0]["schema"]["anyOf"];
    assert_eq!((&schema[0]["type"], &schema[1]["type"]), (&json!("integer"), &json!("string")));
    assert_eq!(order["get"]["parameters"][0]["name"], "id");
    assert_eq!(order["get"]["summary"], "the function Order, or the function Other");
    assert_eq!(order["get"]["security"].as_array().map(Vec::len), Some(3), "a key, in either place, or none");
    assert_eq!(order["delete"]["operationId"], "Cancel-delete");
    assert_eq!(order["delete"]["parameters"][0]["name"], "id");
    assert_eq!(document["paths"]["/"]["get"]["operationId"], "Front-get");
    assert!(order["post"]["security"].as_array().is_some_and(|all| all.len() == 2));
    assert!(document["paths"]["/api/orders/{id}/{part}"]["post"]["responses"]["default"].is_object());
    assert!(document["paths"]["/api/orders/{name}"].is_null(), "OpenAPI has one path of a shape");
    assert_eq!(document["paths"]["/api/open"].as_object().unwrap().len(), METHODS.len());
    assert_eq!(document["paths"]["/api/open"]["get"]["security"], json!([]));
    let without_keys = super::document(&functions, false);
    assert_eq!(without_keys["paths"]["/api/orders/{id}"]["get"]["security"], json!([]));
    assert!(without_keys["paths"]["/admin/functions"]["get"]["responses"]["401"].is_null());
}
