//! All routes of an app, ordered so that the first one that matches is the most specific one.

use super::super::function::Function;
use super::template::{Parameters, RouteTemplate};

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
        let mut routes: Vec<Route> = functions
            .iter()
            .enumerate()
            .filter_map(|(index, function)| {
                let http = function.http()?;
                Some(Route {
                    function: index,
                    methods: http.methods.clone(),
                    template: http.route.clone(),
                })
            })
            .collect();
        routes.sort_by_key(|route| (route.template.precedence(), route.function));
        let prefix = prefix
            .split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        RouteTable { prefix, routes }
    }

    /// Finds the function for a method (upper case) and a path as it was received: with its leading slash, still
    /// percent-encoded, without query. `None` if no route matches, if the method is not one of the function's, or if a
    /// value in the path is not UTF-8 or holds NUL. One slash at the end of the path means nothing.
    pub fn find(&self, method: &str, path: &str) -> Option<RouteMatch> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = if path.is_empty() {
            Vec::new()
        } else {
            path.split('/').collect()
        };
        let segments = self.below_prefix(&segments)?;
        self.routes
            .iter()
            .filter(|route| {
                route.methods.is_empty() || route.methods.iter().any(|own| own == method)
            })
            .find_map(|route| {
                let params: Parameters = route.template.matches(segments)?;
                Some(RouteMatch {
                    function: route.function,
                    params,
                })
            })
    }

    fn below_prefix<'p, 's>(&self, segments: &'p [&'s str]) -> Option<&'p [&'s str]> {
        let (first, rest) = segments.split_at_checked(self.prefix.len())?;
        let matches = first
            .iter()
            .zip(&self.prefix)
            .all(|(found, wanted)| found.eq_ignore_ascii_case(wanted));
        matches.then_some(rest)
    }
}
