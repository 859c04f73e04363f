//! A route template as OpenAPI describes paths: there a parameter has no constraint in its path, is never optional, and is
//! one segment.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

/// What a path cannot hold as it is, or OpenAPI would take for a parameter.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

use super::{Part, RouteTemplate, Segment};
use crate::app::route::constraint::Constraint;

/// A path that a route answers on.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiPath {
    /// The path without a slash first: `products/{category}/{id}`. Empty for the root. Literals are percent-encoded.
    pub path: String,
    /// The parameters in it, in order.
    pub parameters: Vec<ApiParameter>,
}

/// A parameter of a path.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiParameter {
    /// Its name.
    pub name: String,
    /// The JSON Schema of its values.
    pub schema: Value,
    /// It takes the rest of the path, slashes included.
    pub is_catch_all: bool,
}

impl RouteTemplate {
    /// The paths that it answers on: one for each number of segments that may be missing at its end, the longest first.
    pub fn api_paths(&self) -> Vec<ApiPath> {
        let may_miss = |segment: &&Segment| {
            segment.sole_parameter().is_some_and(|one| one.optional || one.catch_all || one.default.is_some())
        };
        let missing = self.segments.iter().rev().take_while(may_miss).count();
        (self.segments.len() - missing..=self.segments.len())
            .rev()
            .map(|length| api_path(&self.segments[..length]))
            .collect()
    }
}

impl ApiPath {
    /// Puts a prefix before the path: plain segments, or none.
    pub fn below(&mut self, prefix: &str) {
        let prefix = prefix.trim_matches('/');
        let parts = [encoded(prefix), std::mem::take(&mut self.path)];
        self.path = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    }
}

fn encoded(literal: &str) -> String {
    utf8_percent_encode(literal, ENCODED).to_string()
}

fn api_path(segments: &[Segment]) -> ApiPath {
    let mut parameters = Vec::new();
    let mut text = |part: &Part| match part {
        Part::Literal(literal) => encoded(literal),
        Part::Parameter(parameter) => {
            let schema = schema(&parameter.constraints);
            parameters.push(ApiParameter { name: parameter.name.clone(), schema, is_catch_all: parameter.catch_all });
            format!("{{{}}}", parameter.name)
        }
    };
    let segments: Vec<String> = segments.iter().map(|segment| segment.parts.iter().map(&mut text).collect()).collect();
    ApiPath { path: segments.join("/"), parameters }
}

fn schema(constraints: &[Constraint]) -> Value {
    let mut schema = json!({ "type": "string", "minLength": 1 });
    for constraint in constraints {
        let further = match constraint {
            Constraint::Int => json!({ "type": "integer", "format": "int32" }),
            Constraint::Long => json!({ "type": "integer", "format": "int64" }),
            Constraint::Bool => json!({ "type": "boolean" }),
            Constraint::Decimal | Constraint::Float => json!({ "type": "number" }),
            Constraint::Guid => json!({ "format": "uuid" }),
            Constraint::Alpha => json!({ "pattern": "^[A-Za-z]+$" }),
            Constraint::Length { min, max } => json!({ "minLength": min, "maxLength": max }),
            Constraint::Range { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            // Its syntax is not that of JSON Schema.
            Constraint::Regex(regex) => json!({ "description": format!("matches {regex}") }),
            Constraint::DateTime => json!({ "description": "a date, with or without a time" }),
            Constraint::Required => json!({}),
        };
        let (Value::Object(schema), Value::Object(further)) = (&mut schema, further) else { continue };
        schema.extend(further);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(template: &str) -> Vec<String> {
        let paths = RouteTemplate::parse(template).expect("it is valid").api_paths();
        paths.into_iter().map(|path| path.path).collect()
    }

    #[test]
    fn what_may_be_missing_makes_a_path_of_its_own() {
        assert_eq!(paths("a/{b:int}"), ["a/{b}"]);
        assert_eq!(paths("a/{b=1}/{c?}"), ["a/{b}/{c}", "a/{b}", "a"]);
        assert_eq!(paths("a/{*rest}"), ["a/{rest}", "a"]);
        assert_eq!(paths("{name}.{extension?}"), ["{name}.{extension}"]);
        assert_eq!(paths(""), [""]);
        assert_eq!(paths("a{{b}} c/{d}"), ["a%7Bb%7D%20c/{d}"]);
        let mut path = RouteTemplate::parse("a").expect("it is valid").api_paths().remove(0);
        path.below("/my api/v1/");
        assert_eq!(path.path, "my%20api/v1/a");
    }

    #[test]
    fn constraints_are_schemas() {
        let path = &RouteTemplate::parse("{id:int:min(1)}/{*rest}").expect("it is valid").api_paths()[0];
        assert_eq!(path.parameters[0].schema["type"], "integer");
        assert_eq!(path.parameters[0].schema["minimum"], 1);
        assert!(path.parameters[1].is_catch_all && !path.parameters[0].is_catch_all);
    }

    proptest::proptest! {
        #[test]
        fn each_path_names_the_parameters_that_are_in_it(template in "[a{}:?*=/.()\\-1é]{0,12}|(a|\\{b\\}|\\{c:int\\?\\}|/|\\{d=1\\}|\\{\\*e\\}){1,5}") {
            let Ok(template) = RouteTemplate::parse(&template) else { return Ok(()) };
            let paths = template.api_paths();
            let longest: Vec<&str> = paths[0].parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            proptest::prop_assert_eq!(longest, template.parameters().collect::<Vec<_>>());
            for path in &paths {
                for parameter in &path.parameters {
                    let name = format!("{{{}}}", parameter.name);
                    proptest::prop_assert!(path.path.contains(&name), "{:?}", path);
                }
            }
        }
    }
}
