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

#[cfg(test)]
mod tests {
    use super::super::table::tests::function;
    use super::*;

    /// What is said of these routes: the code, and the function that it is said of.
    fn noted(functions: &[Function]) -> Vec<(&'static str, String)> {
        let mut report = Report::default();
        let origins = vec![Origin::whole("function.json"); functions.len()];
        note_overlaps(functions, &origins, &mut report);
        let about = |found: &crate::app::Diagnostic| (found.code.as_str(), found.function.clone().unwrap_or_default());
        report.diagnostics().iter().map(about).collect()
    }

    fn of(routes: &[&str]) -> Vec<(&'static str, String)> {
        noted(&routes.iter().map(|route| function(route, &[])).collect::<Vec<_>>())
    }

    #[test]
    fn routes_between_which_only_names_decide_are_ambiguous() {
        for routes in [["{a:int}", "{b:min(5)}"], ["v{a}", "V{b}-{c}"], ["{a:length(3)}", "{b:int}"]] {
            assert_eq!(of(&routes), [("S0304", routes[1].to_owned())], "{routes:?}");
        }
        for routes in [
            ["{a:int}", "{b:alpha}"],
            ["{a:guid}", "{b:bool}"],
            ["{a:range(1,5)}", "{b:min(6)}"],
            ["{a:length(3)}", "{b:length(4)}"],
            ["v{a}", "w{b}"],
            ["v{a}", "{b:int}"],
            ["{a}.json", "{b}.xml"],
            ["a/{x}", "a/{x:int}"],
            ["a", "b"],
            ["p/{id?}", "p"],
        ] {
            assert_eq!(of(&routes), [], "{routes:?}");
        }
        assert_eq!(noted(&[function("a/{x:int}", &["GET"]), function("a/{y:min(1)}", &["POST"])]), []);
    }

    #[test]
    fn a_route_that_another_one_covers_is_shadowed_unless_it_has_a_method_of_its_own() {
        assert_eq!(of(&["b/{y}", "b/{x}", "c/{x}"]), [("S0305", "b/{x}".to_owned())]);
        let by_method = noted(&[function("b/{x}", &["GET"]), function("b/{y}", &["GET", "POST"])]);
        assert_eq!(by_method, [("S0304", "b/{y}".to_owned())]);
    }
}
