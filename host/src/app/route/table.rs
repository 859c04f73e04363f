//! All routes of an app, ordered so that the first one that matches is the most specific one.

use super::super::function::{Function, HttpTrigger};
use super::template::{Parameters, RouteTemplate, is_literal};

/// Answers which function serves a request. Pure; built once when the app is loaded.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    prefix: Vec<String>,
    routes: Vec<Route>,
}

#[derive(Debug, Clone)]
struct Route {
    function: usize,
    methods: Vec<String>,
    template: RouteTemplate,
}

/// The function that serves a request, and the values in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// The function's index in the list that the table was built from.
    pub function: usize,
    /// Names and decoded values of the route's parameters, in the template's order. One that is optional, has no default
    /// and is absent from the path is absent here.
    pub params: Vec<(String, String)>,
}

impl RouteTable {
    /// Builds the table from an app's functions, in their order; those without an http trigger are passed over. `prefix`
    /// (`host.json`'s `routePrefix`) stands before every route and compares without regard to case.
    pub fn new(prefix: &str, functions: &[Function]) -> Self {
        Self::of(prefix, functions.iter().enumerate().filter_map(|(index, function)| Some((index, function.http()?))))
    }

    /// Builds a table of triggers, each with the number that a match is to name.
    pub fn of<'a>(prefix: &str, triggers: impl IntoIterator<Item = (usize, &'a HttpTrigger)>) -> Self {
        let route = |(function, http): (usize, &HttpTrigger)| Route {
            function,
            methods: http.methods.clone(),
            template: http.route.clone(),
        };
        let mut routes: Vec<Route> = triggers.into_iter().map(route).collect();
        routes.sort_by_key(|route| (route.template.precedence(), route.function));
        let prefix = prefix.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        RouteTable { prefix, routes }
    }

    /// Finds the function for a method (upper case) and a path as it was received: with its leading slash, still
    /// percent-encoded, without query. `None` if no route matches, if the method is not one of the function's, or if a
    /// value in the path is not UTF-8 or holds NUL. One slash at the end of the path means nothing.
    pub fn find(&self, method: &str, path: &str) -> Option<RouteMatch> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
        let segments = self.below_prefix(&segments)?;
        self.routes
            .iter()
            .filter(|route| route.methods.is_empty() || route.methods.iter().any(|own| own == method))
            .find_map(|route| {
                let params: Parameters = route.template.matches(segments)?;
                Some(RouteMatch { function: route.function, params })
            })
    }

    fn below_prefix<'p, 's>(&self, segments: &'p [&'s str]) -> Option<&'p [&'s str]> {
        let (first, rest) = segments.split_at_checked(self.prefix.len())?;
        let matches = first.iter().zip(&self.prefix).all(|(found, wanted)| is_literal(found, wanted));
        matches.then_some(rest)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::app::function::{AuthLevel, HttpTrigger, Trigger};
    use proptest::prelude::*;

    pub(in crate::app::route) fn function(route: &str, methods: &[&str]) -> Function {
        let http = HttpTrigger {
            auth_level: AuthLevel::Anonymous,
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            route: RouteTemplate::parse(route).expect("route is valid"),
        };
        Function {
            name: route.to_owned(),
            folder: "f".into(),
            script: "f/function.wasm".into(),
            handler: route.to_owned(),
            trigger: Trigger::Http(http),
            trigger_binding: "req".to_owned(),
            client: None,
            http_output: None,
            disabled: false,
            retry: None,
        }
    }

    fn table(routes: &[&str]) -> RouteTable {
        RouteTable::new("api", &routes.iter().map(|route| function(route, &[])).collect::<Vec<_>>())
    }

    /// The index of the route and its parameters as `name=value`, joined by `&`.
    fn find(routes: &[&str], path: &str) -> Option<(usize, String)> {
        let found = table(routes).find("GET", path)?;
        let params: Vec<String> = found.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some((found.function, params.join("&")))
    }

    fn params(route: &str, path: &str) -> Option<String> {
        find(&[route], path).map(|(_, params)| params)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn literals_parameters_and_defaults_match_as_documented() {
        assert_eq!(params("a/b", "/API/A/b/"), text(""));
        assert_eq!(params("a/b", "/api/a"), None);
        assert_eq!(params("a/b", "/api/a/b/c"), None);
        assert_eq!(params("a/b", "/a/b"), None);
        assert_eq!(params("a/b", "/api/a//b"), None);
        assert_eq!(params("a/b", "/api/a/b//"), None);
        assert_eq!(params("grüße", "/api/GR%C3%9C%C3%9Fe"), text(""));
        assert_eq!(params("a/{x}", "/api/a/1%2F2%20%C3%A4"), text("x=1/2 ä"));
        assert_eq!(params("a/{x}", "/api/a/"), None);
        assert_eq!(params("a/{x?}", "/api/a/"), text(""));
        assert_eq!(params("a/{x?}", "/api/a/1"), text("x=1"));
        assert_eq!(params("a/{x=5}/{y=6}", "/api/a/1"), text("x=1&y=6"));
        assert_eq!(params("a/{x?}/{y?}", "/api/a"), text(""));
        assert_eq!(params("a/{x?}/{y?}", "/api/a/1"), text("x=1"));
        assert_eq!(params("a/{x?}/{y?}", "/api/a/1/2"), text("x=1&y=2"));
        assert_eq!(params("a/{x?}/b", "/api/a/1/b"), text("x=1"));
        assert_eq!(params("a/{x?}/b", "/api/a/b"), None);
        assert_eq!(params("a/{x:int=5}", "/api/a"), text("x=5"));
        assert_eq!(params("a/{x:int?}", "/api/a/z"), None);
        assert_eq!(params("{*rest}", "/api"), text("rest="));
        assert_eq!(params("{*rest}", "/api/a//b%2Fc/"), text("rest=a//b/c"));
        assert_eq!(params("a/{*rest:minlength(2)}", "/api/a/b"), None);
        assert_eq!(params("a/{**rest}", "/api/a/b/c"), text("rest=b/c"));
        assert_eq!(params("/", "/api/"), text(""));
    }

    #[test]
    fn a_prefix_is_compared_as_literals_are() {
        let table = RouteTable::new("Grüße und/x", &[function("a", &[])]);
        assert!(table.find("GET", "/gr%C3%BC%C3%9Fe%20und/X/a").is_some());
        assert!(table.find("GET", "/gr%C3%BC%C3%9Fe%20und%2FX/a").is_none());
        assert!(table.find("GET", "/%ff/x/a").is_none());
    }

    #[test]
    fn mixed_segments_are_taken_apart_from_their_end() {
        assert_eq!(params("{a}-{b}", "/api/x-y-z"), text("a=x-y&b=z"));
        assert_eq!(params("{a}-{b}", "/api/x-"), None);
        assert_eq!(params("{a}-{b}", "/api/-x"), None);
        assert_eq!(params("{a}-{b}", "/api/x--"), text("a=x&b=-"));
        assert_eq!(params("v{major:int}.{minor:int}", "/api/V1.20"), text("major=1&minor=20"));
        assert_eq!(params("v{major:int}.{minor:int}", "/api/v1.x"), None);
        assert_eq!(params("v{x}", "/api/v"), None);
        assert_eq!(params("v{x}", "/api/wvy"), None);
        assert_eq!(params("pre{x}post", "/api/preXpost"), text("x=X"));
        assert_eq!(params("pre{x}post", "/api/prepost"), None);
        assert_eq!(params("{name}.{extension?}", "/api/a.txt"), text("name=a&extension=txt"));
        assert_eq!(params("{name}.{extension?}", "/api/a"), text("name=a"));
        assert_eq!(params("{name}.{extension?}", "/api/a."), None);
        assert_eq!(params("{a}ä{b}", "/api/1%C3%A42"), text("a=1&b=2"));
    }

    #[test]
    fn braces_are_escaped_by_doubling() {
        assert_eq!(params("a{{b}}", "/api/a%7Bb%7D"), text(""));
        assert_eq!(params("{x:regex(^\\d{{2}}$)}", "/api/12"), text("x=12"));
        assert_eq!(params("{x:regex(^\\d{{2}}$)}", "/api/123"), None);
        assert_eq!(params("{x:regex(^(a|b)/:c$):minlength(2)}", "/api/a%2F:c"), text("x=a/:c"));
    }

    #[test]
    fn the_most_specific_route_wins() {
        let routes = ["{*rest}", "a/{x}", "a/{x:int}", "a/b", "a/v{x}", "{x}/b"];
        for (path, route) in [
            ("/api/a/b", "a/b"),
            ("/api/a/1", "a/{x:int}"),
            ("/api/a/v1", "a/v{x}"),
            ("/api/a/c", "a/{x}"),
            ("/api/z/b", "{x}/b"),
            ("/api/z/y", "{*rest}"),
            ("/api", "{*rest}"),
        ] {
            assert_eq!(find(&routes, path).map(|(index, _)| routes[index]), Some(route), "{path}");
        }
        assert_eq!(find(&["b/{y}", "b/{x}"], "/api/b/1"), Some((0, "y=1".to_owned())), "equals go by order");
        assert_eq!(find(&["p/{id?}", "p"], "/api/p"), Some((1, String::new())), "the shorter one is the literal one");
    }

    #[test]
    fn a_method_that_is_not_listed_matches_nothing() {
        let table = RouteTable::new("", &[function("a/b", &["POST"]), function("a/{x}", &["GET"])]);
        assert_eq!(table.find("POST", "/a/b").map(|found| found.function), Some(0));
        assert_eq!(table.find("GET", "/a/b").map(|found| found.function), Some(1), "the literal one is for POST only");
        assert_eq!(table.find("PUT", "/a/b"), None);
    }

    #[test]
    fn values_that_are_not_text_match_nothing() {
        assert_eq!(params("{x}", "/api/%FF"), None);
        assert_eq!(params("{x}", "/api/a%00b"), text("x=a\0b"), "an odd character is the function's to judge");
        assert_eq!(params("{x}", "/api/a%zz"), text("x=a%zz"));
    }

    #[test]
    fn templates_that_cannot_work_are_refused() {
        for (template, reason) in [
            ("{a", "no closing"),
            ("a}", "no '{' before"),
            ("{}", "no valid parameter name"),
            ("{a}{b}", "a literal must stand before the parameter 'b'"),
            ("{a}/{A}", "appears more than once"),
            ("{*a}/b", "must be the last segment"),
            ("x{*a}", "must be the last segment"),
            ("a{b?}", "a segment of its own"),
            ("{a}.{b?}c", "a segment of its own"),
            ("{a=1?}", "both a default value and '?'"),
            ("{*a?}", "may not be optional"),
            ("a//b", "empty segment"),
            ("a?b", "outside of a parameter"),
            ("{a:nope}", "is not known"),
            ("{a:regex(x}", "no closing ')'"),
            ("{a{b}}", "inside a parameter"),
        ] {
            let error = RouteTemplate::parse(template).expect_err(template).to_string();
            assert!(error.contains(reason), "{template}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_template_and_path_make_it_panic(template in "[a{}:?*=/.()\\-1é]{0,12}", path in "\\PC{0,16}") {
            if let Ok(template) = RouteTemplate::parse(&template) {
                let segments: Vec<&str> = path.split('/').collect();
                let _ = template.matches(&segments);
            }
        }

        #[test]
        fn no_path_makes_mixed_segments_panic(path in "[a.é%/\\-]{0,12}") {
            let _ = find(&["{a}-{b}", "é{a}é", "{a}.{b?}", "a/{*rest}"], &path);
            let _ = find(&["{a}-{b}", "é{a}é", "{a}.{b?}", "a/{*rest}"], &format!("/api/{path}"));
        }

        #[test]
        fn a_literal_beats_a_parameter_and_both_beat_a_catch_all(
            literals in prop::collection::vec("[a-z]{1,4}", 1..4),
            holes in prop::collection::vec(any::<bool>(), 3),
        ) {
            let exact = literals.join("/");
            let holed: Vec<String> = literals
                .iter()
                .zip(&holes)
                .enumerate()
                .map(|(index, (literal, hole))| if *hole { format!("{{p{index}}}") } else { literal.clone() })
                .collect();
            let routes = ["{*rest}", &holed.join("/"), &exact];
            let path = format!("/api/{exact}");
            let expected = if holes[..literals.len()].contains(&true) { 2 } else { 1 };
            prop_assert_eq!(find(&routes, &path).map(|(index, _)| index), Some(expected));
            prop_assert_eq!(find(&routes[..2], &path).map(|(index, _)| index), Some(1));
        }

        #[test]
        fn a_parameter_gives_back_what_was_encoded(value in "\\PC{1,12}") {
            let encoded = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC).to_string();
            prop_assert_eq!(params("{x}", &format!("/api/{encoded}")), Some(format!("x={value}")));
        }
    }
}
