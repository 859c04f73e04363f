//! What can be made out of a function that is in error: which requests it would serve.

use super::App;
use super::diagnostic::Code;
use super::error::Excluded;
use super::function::{AuthLevel, HttpTrigger};
use super::json::{Document, Node, Value};
use super::route::RouteTemplate;

impl App {
    /// The http trigger of a function that is in error, as far as its `function.json` can be made out; none if it has none.
    pub fn http_trigger_in_error(&self, excluded: &Excluded) -> Option<HttpTrigger> {
        if let Some(function) = self.functions.iter().find(|function| function.name == excluded.function) {
            return function.http().cloned();
        }
        let file = self.root.join(&excluded.function).join("function.json");
        let document = Document::parse(&file, std::fs::read(&file).ok()?, Code::FunctionJsonSyntax).ok()?;
        let Value::Array(bindings) = document.root()?.get("bindings")?.value() else { return None };
        let is_http = |binding: &&Node| {
            let kind = text(binding, "type");
            kind.is_some_and(|kind| kind.eq_ignore_ascii_case("httpTrigger"))
        };
        let trigger = bindings.iter().find(is_http)?;
        let route = text(trigger, "route").and_then(|route| RouteTemplate::parse(route).ok());
        let route = match route {
            Some(route) => route,
            None => RouteTemplate::parse(&excluded.function).ok()?,
        };
        let methods = match trigger.get("methods").map(Node::value) {
            Some(Value::Array(methods)) => {
                methods.iter().filter_map(Node::as_str).map(str::to_ascii_uppercase).collect()
            }
            _ => Vec::new(),
        };
        Some(HttpTrigger { auth_level: AuthLevel::default(), methods, route })
    }
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key)?.as_str()
}
