//! What can be made out of a function that is in error: which requests it would serve.

use super::App;
use super::diagnostic::Code;
use super::error::Excluded;
use super::function::{AuthLevel, HttpTrigger};
use super::json::{Document, Node, Value};
use super::route::RouteTemplate;

impl App {
    /// The http trigger of a function that is in error, as far as its `function.json` can be made out; none if it has another
    /// one. What cannot be made out may have been meant to be one: then it is on the route that functions have by default.
    pub fn http_trigger_in_error(&self, excluded: &Excluded) -> Option<HttpTrigger> {
        if let Some(function) = self.functions.iter().find(|function| function.name == excluded.function) {
            return function.http().cloned();
        }
        let file = self.root.join(&excluded.function).join("function.json");
        let document = super::load::read_file(&file).ok();
        let document = document.and_then(|bytes| Document::parse(&file, bytes, Code::FunctionJsonSyntax).ok());
        let bindings = document.as_ref().and_then(Document::root).and_then(|root| root.get("bindings"));
        let bindings: &[Node] = match bindings.map(Node::value) {
            Some(Value::Array(bindings)) => bindings,
            _ => &[],
        };
        let kind = |binding: &Node| text(binding, "type").unwrap_or_default().to_ascii_lowercase();
        let is_http = |binding: &&Node| kind(binding) == "httptrigger";
        let is_trigger = |binding: &Node| kind(binding).ends_with("trigger");
        let looks_like_one = |binding: &&Node| ["route", "methods"].iter().any(|key| binding.get(key).is_some());
        let trigger = bindings.iter().find(is_http);
        if trigger.is_none() && bindings.iter().any(is_trigger) {
            return None;
        }
        let trigger = trigger.or_else(|| bindings.iter().find(looks_like_one));
        let route = trigger.and_then(|trigger| text(trigger, "route"));
        let route = match route.and_then(|route| RouteTemplate::parse(route).ok()) {
            Some(route) => route,
            None => RouteTemplate::parse(&excluded.function).ok()?,
        };
        let methods = match trigger.and_then(|trigger| trigger.get("methods")).map(Node::value) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_out_is_where_functions_are_by_default() {
        let folder = tempfile::tempdir().expect("temp folder");
        let texts = [
            ("Broken", "{ \"bindings\": [", Some("Broken")),
            ("Empty", "", Some("Empty")),
            (
                "Misspelt",
                r#"{ "bindings": [ { "type": "httpTriger", "name": "req", "route": "a/{b}" } ] }"#,
                Some("a/{b}"),
            ),
            (
                "NoRoute",
                r#"{ "bindings": [ { "type": "httpTrigger", "name": "req", "route": "a/{b" } ] }"#,
                Some("NoRoute"),
            ),
            ("Timer", r#"{ "bindings": [ { "type": "timerTrigger", "name": "t", "schedule": "x" } ] }"#, None),
            ("Queue", r#"{ "bindings": [ { "type": "queueTrigger", "name": "m" } ] }"#, None),
        ];
        for (name, text, _) in texts {
            std::fs::create_dir(folder.path().join(name)).expect("create folder");
            std::fs::write(folder.path().join(name).join("function.json"), text).expect("write file");
        }
        let app = App::load(folder.path(), []).expect("it loads");
        for (name, _, route) in texts {
            let excluded = app.excluded.iter().find(|excluded| excluded.function == name).expect(name);
            let trigger = app.http_trigger_in_error(excluded);
            assert_eq!(trigger.as_ref().map(|trigger| trigger.route.as_str()), route, "{name}");
        }
    }
}
