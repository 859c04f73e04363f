//! Functions that no request reaches, and those that only the order of names decides between.

use super::template::Overlap;
use crate::app::diagnostic::{Code, Problem, Report};
use crate::app::error::Origin;
use crate::app::function::{Function, HttpTrigger};

/// Reports routes that are shadowed by one that is tried before, and equals that match one path. `origins` are the places of
/// the functions' routes.
pub(in crate::app) fn note_overlaps(functions: &[Function], origins: &[Origin], report: &mut Report) {
    let mut routes: Vec<(usize, &Function, &HttpTrigger)> = functions
        .iter()
        .enumerate()
        .filter(|(_, function)| !function.disabled)
        .filter_map(|(index, function)| Some((index, function, function.http()?)))
        .collect();
    routes.sort_by_key(|(index, _, http)| (http.route.precedence(), *index));
    for (place, (index, function, http)) in routes.iter().enumerate() {
        let before = routes[..place].iter().filter(|(_, _, first)| methods_meet(first, http));
        let mut overlaps = before.filter_map(|(_, first, trigger)| {
            let overlap = trigger.route.overlap(&http.route)?;
            match overlap {
                Overlap::Covers if has_all_methods(trigger, http) => Some(shadowed(function, first)),
                // That the more specific route comes first is what routes are for.
                _ if trigger.route.precedence() != http.route.precedence() => None,
                Overlap::Covers => Some(ambiguous(function, first, trigger.route.as_str())),
                Overlap::Meets(path) => Some(ambiguous(function, first, &path)),
            }
        });
        if let Some((code, message, help)) = overlaps.next() {
            let mut own = Report::default();
            own.note(Problem::new(code, message, origins[*index].clone()).help(help));
            report.append(own.about(&function.name));
        }
    }
}

fn shadowed(function: &Function, first: &Function) -> (Code, String, &'static str) {
    let message =
        format!("no request reaches function '{}': '{}' serves every path that it would", function.name, first.name);
    (Code::RouteShadowed, message, "change one of the routes, or give them different methods")
}

fn ambiguous(function: &Function, first: &Function, path: &str) -> (Code, String, &'static str) {
    let message = format!(
        "functions '{}' and '{}' both serve requests such as '{path}': '{}' does, for its name comes first",
        first.name, function.name, first.name
    );
    (Code::RouteAmbiguous, message, "make one of the routes more specific, with a literal segment or a constraint")
}

fn methods_meet(a: &HttpTrigger, b: &HttpTrigger) -> bool {
    a.methods.is_empty() || b.methods.is_empty() || a.methods.iter().any(|method| b.methods.contains(method))
}

/// Whether the first trigger has every method of the second.
fn has_all_methods(first: &HttpTrigger, second: &HttpTrigger) -> bool {
    first.methods.is_empty()
        || !second.methods.is_empty() && second.methods.iter().all(|method| first.methods.contains(method))
}
