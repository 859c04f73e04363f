//! What the host serves, as an OpenAPI 3.1 document: the functions on their routes, and the host's own API.
//!
//! The functions' part is made of what is deployed, the host's own of a table ([`own::OPERATIONS`]) that a test compares
//! with what the router takes. The management API's secret path is not in it.

mod own;
mod schemas;

use serde_json::{Map, Value, json};

use super::admin::HttpFunctionInfo;
use crate::app::{ApiPath, AuthLevel};
use own::{Access, Operation};

/// Where it is served, unless a function has that route.
pub(super) const PATH: &str = "/openapi.json";

/// The methods of a function that names none. Others are served, too; OpenAPI has no more.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// The document. `has_keys`: callers need keys.
pub(super) fn document(functions: &[HttpFunctionInfo], has_keys: bool) -> Value {
    let mut paths = Paths::default();
    for operation in own::OPERATIONS {
        for (base, is_deprecated) in operation.bases() {
            paths.add(
                &format!("{base}{}", operation.path),
                operation.method,
                own_operation(operation, is_deprecated, has_keys),
            );
        }
    }
    for function in functions {
        for (at, path) in function.paths.iter().enumerate() {
            let methods: Vec<&str> = function.methods.iter().map(String::as_str).collect();
            for method in if methods.is_empty() { &METHODS[..] } else { &methods[..] } {
                paths.add(&format!("/{}", path.path), method, function_operation(function, path, at, method, has_keys));
            }
        }
    }
    let schemes = if has_keys { schemas::security_schemes() } else { json!({}) };
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Soloist",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The functions of this app, and the host's own API. Literal parts of paths compare without regard \
                            to case, and one slash at the end means nothing.",
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "functions", "description": "the app's HTTP functions" },
            { "name": "management", "description": "orchestrations and entities" },
            { "name": "admin", "description": "the host, its functions and keys" },
            { "name": "health", "description": "whether the host works" },
        ],
        "paths": paths.paths,
        "components": {
            "schemas": schemas::schemas(),
            "responses": schemas::responses(),
            "parameters": schemas::parameters(),
            "securitySchemes": schemes,
        },
    })
}

/// The document's paths, each once: paths that differ in the names of their parameters alone are one to OpenAPI, which has
/// the names of the first.
#[derive(Default)]
struct Paths {
    paths: Map<String, Value>,
}

impl Paths {
    fn add(&mut self, path: &str, method: &str, mut operation: Value) {
        let method = method.to_ascii_lowercase();
        // OpenAPI has a place for these only.
        if !METHODS.iter().any(|known| known.eq_ignore_ascii_case(&method)) {
            return;
        }
        let known = self.paths.keys().find(|known| shape(known) == shape(path)).cloned();
        let known = known.unwrap_or_else(|| path.to_owned());
        rename(&mut operation, path, &known);
        let Value::Object(item) = self.paths.entry(known).or_insert_with(|| json!({})) else { return };
        match item.get_mut(&method) {
            // One that the host would serve here itself: a function goes before it.
            Some(other) if !is_function(other) && is_function(&operation) => *other = operation,
            Some(other) if is_function(&operation) => widen(other, &operation),
            Some(_) => {}
            None => drop(item.insert(method, operation)),
        }
    }
}

fn is_function(operation: &Value) -> bool {
    operation["tags"][0] == "functions"
}

/// Gives the parameters in an operation's path the names that another path of the same shape has.
fn rename(operation: &mut Value, path: &str, known: &str) {
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let mut names = names_in(path).zip(names_in(known));
        if let Some((_, name)) = names.find(|(own, _)| parameter["in"] == "path" && parameter["name"] == *own) {
            parameter["name"] = name.into();
        }
    }
}

/// Makes a function's operation that of another function as well, whose route matches other values.
fn widen(operation: &mut Value, other: &Value) {
    let summary = [&*operation, other].map(|one| one["summary"].as_str().unwrap_or_default().to_owned());
    operation["summary"] = summary.join(", or ").into();
    let others = other["parameters"].as_array().into_iter().flatten();
    for (parameter, other) in operation["parameters"].as_array_mut().into_iter().flatten().zip(others) {
        let schema = &mut parameter["schema"];
        if let Some(schemas) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
            schemas.push(other["schema"].clone());
        } else if *schema != other["schema"] {
            *schema = json!({ "anyOf": [schema.take(), other["schema"]] });
        }
    }
    if let (Some(ways), Some(more)) = (operation["security"].as_array_mut(), other["security"].as_array())
        && ways.is_empty() != more.is_empty()
    {
        // The one needs a key, the other does not.
        ways.extend(more.iter().cloned());
        ways.push(json!({}));
    }
}

/// A path without the names of its parameters.
fn shape(path: &str) -> String {
    let mut shape = String::new();
    let mut is_name = false;
    for character in path.chars() {
        is_name &= character != '}';
        if !is_name {
            shape.push(character.to_ascii_lowercase());
        }
        is_name |= character == '{';
    }
    shape
}

fn own_operation(operation: &Operation, is_deprecated: bool, has_keys: bool) -> Value {
    let path = format!("{}{}", operation.base.first_path(), operation.path);
    let named: Vec<Value> = names_in(&path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }))
        .collect();
    let asked = operation.query.iter().map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }));
    let mut responses = schemas::common_responses(operation.access != Access::Everyone && has_keys, operation.writes);
    for (status, content) in operation.responses {
        responses.insert(status.to_string(), schemas::response(*status, *content));
    }
    let id = if is_deprecated { format!("{}V1", operation.id) } else { operation.id.to_owned() };
    let mut value = json!({
        "operationId": id,
        "tags": [operation.base.tag()],
        "summary": operation.summary,
        "parameters": named.into_iter().chain(asked).collect::<Vec<_>>(),
        "responses": responses,
        "security": security(operation.access != Access::Everyone && has_keys),
    });
    if let (Some(body), Value::Object(value)) = (operation.body, &mut value) {
        value.insert("requestBody".to_owned(), schemas::request_body(body));
    }
    if is_deprecated {
        value["deprecated"] = true.into();
    }
    value
}

fn function_operation(function: &HttpFunctionInfo, path: &ApiPath, at: usize, method: &str, has_keys: bool) -> Value {
    let parameters = path.parameters.iter().map(|parameter| {
        let mut value = json!({ "name": parameter.name, "in": "path", "required": true, "schema": parameter.schema });
        if parameter.is_catch_all {
            value["description"] = "the rest of the path: it may hold slashes".into();
        }
        value
    });
    let needs_key = has_keys && function.auth_level != AuthLevel::Anonymous;
    let mut responses = schemas::common_responses(needs_key, false);
    responses.insert("default".to_owned(), json!({ "description": "what the function answers" }));
    let suffix = if at == 0 { String::new() } else { format!("-{at}") };
    let mut value = json!({
        "operationId": format!("{}-{}{suffix}", function.name, method.to_ascii_lowercase()),
        "tags": ["functions"],
        "summary": format!("the function {}", function.name),
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": responses,
        "security": security(needs_key),
    });
    if !["GET", "HEAD", "DELETE", "TRACE", "OPTIONS"].contains(&method) {
        value["requestBody"] = json!({ "required": false, "content": { "*/*": {} } });
    }
    value
}

/// A key in either place; nothing where none is needed.
fn security(is_needed: bool) -> Value {
    if is_needed { json!([{ "keyHeader": [] }, { "keyQuery": [] }]) } else { json!([]) }
}

/// The names of the parameters in a path.
fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

#[cfg(test)]
mod tests;
